import { type Command } from 'commander'
import { lazy } from './lazy.ts'

/** `weft policy`. */
export function addPolicyCommands(program: Command): void {
  const load = () => import('./commands/policy.ts')
  const policy = program.command('policy').description('who may send to whom: add, list, show, remove, test, isolate')
  policy
    .command('add')
    .description('add a policy: allow NAME, deny NAME, or a JSON file (- for standard input)')
    .argument('<action|file>')
    .argument('[name]')
    .option('--from <selector>', 'any, network:NAME, label:KEY=VALUE, task:NAME, task:/APP, cidr:PREFIX', 'any')
    .option('--to <selector>', 'the same', 'any')
    .option('--protocol <protocol>', 'tcp, udp, icmp or any')
    .option('--ports <port...>', 'ports at the --to side, like 80 or 8000-8100', [])
    .option('--priority <n>', 'lower is asked first; 1000 when absent')
    .option('--both', 'also the other way round', false)
    .option('--dry-run', 'only tell which flows, of those that the hosts track now, would change', false)
    .action(lazy(async () => (await load()).addPolicy))
  policy
    .command('list')
    .description('all policies, in the order in which they are asked')
    .action(lazy(async () => (await load()).listPolicies))
  policy
    .command('show')
    .description('a policy as the API tells it')
    .argument('<name>')
    .action(lazy(async () => (await load()).showPolicy))
  policy
    .command('remove')
    .description('remove a policy')
    .argument('<name>')
    .action(lazy(async () => (await load()).removePolicy))
  policy
    .command('test')
    .description("what happens to a connection's first packet, by the policies; exits with 1 when it is dropped")
    .argument('<from>', 'a task or an address')
    .argument('<to>', 'TASK-OR-ADDRESS[:PORT][/tcp|/udp|/icmp]')
    .action(lazy(async () => (await load()).testPolicies))
  policy
    .command('isolate')
    .description('strict: nothing from, to or inside a network unless a policy allows it; open: as usual')
    .argument('<network>')
    .argument('<mode>', 'strict or open')
    .action(lazy(async () => (await load()).isolateNetwork))
}
