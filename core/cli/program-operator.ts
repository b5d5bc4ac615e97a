import { type Command } from 'commander'
import { lazy } from './lazy.ts'

/** `weft node drain`, `deactivate`, `reactivate`, `gone`. */
export function addNodeLifeCommands(node: Command): void {
  const load = () => import('./commands/node-life.ts')
  node
    .command('drain')
    .description('offer nothing there and end its tasks; they are started elsewhere')
    .argument('<name>')
    .option('--grace <seconds>', "cuts the tasks' own kill grace")
    .option('--gone', 'give the agent up for ever when it is empty', false)
    .option('--wait', 'until it is empty', false)
    .option('--timeout <seconds>', 'of --wait', '600')
    .action(lazy(async () => (await load()).drainNode))
  node
    .command('deactivate')
    .description('offer nothing there; its tasks go on')
    .argument('<name>')
    .action(lazy(async () => (await load()).deactivateNode))
  node
    .command('reactivate')
    .description('offer it again, after deactivate or when it is drained')
    .argument('<name>')
    .action(lazy(async () => (await load()).reactivateNode))
  node
    .command('gone')
    .description('give its agent up for ever: its tasks are lost, and it is refused')
    .argument('<name>')
    .action(lazy(async () => (await load()).giveUpNode))
}

/** `weft role …`. */
export function addRoleCommands(program: Command): void {
  const load = () => import('./commands/role.ts')
  const role = program.command('role').description('shares of frameworks: list, weight, quota')
  role
    .command('list')
    .description('roles, what they have, weights and quotas')
    .action(lazy(async () => (await load()).listRoles))
  role
    .command('weight')
    .description('its part of what several roles want; 1 by itself')
    .argument('<role>')
    .argument('<weight>')
    .action(lazy(async () => (await load()).weighRole))
  role
    .command('quota')
    .description('the most that a top-level role and all below it may consume')
    .argument('<role>')
    .option('--cpus <n>', 'processors')
    .option('--mem <mb>', 'memory, MB')
    .option('--disk <mb>', 'disk, MB')
    .option('--remove', 'no limits any more')
    .option('--force', 'also when it consumes more already')
    .action(lazy(async () => (await load()).limitRole))
}
