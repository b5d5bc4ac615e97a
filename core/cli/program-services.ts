import { type Command } from 'commander'
import { lazy } from './lazy.ts'

/** A command that follows the deployment that it starts. */
function waiting(command: Command): Command {
  return command
    .option('--wait', 'until every node has the names and virtual addresses (as without it)', true)
    .option('--no-wait', 'return at once')
    .option('--timeout <seconds>', 'then tell what waits for what, and end with 1; the deployment goes on', '300')
}

function forcing(command: Command): Command {
  return command.option('--force', 'give up a deployment that is in the way', false)
}

/** `weft app`, `group`, `deployment`, `pod` and `queue`. */
export function addServiceCommands(program: Command): void {
  const app = program.command('app').description('services: apps that run until they are stopped')
  addAppFileCommands(app)
  addAppChangeCommands(app)
  addAppViewCommands(app)
  addGroupCommands(program)
  addPodCommands(program)
  addDeploymentCommands(program)
  program
    .command('queue')
    .description('apps whose instances wait, and why: the reason of each agent')
    .action(lazy(async () => (await import('./commands/queue.ts')).showQueue))
}

function addAppFileCommands(app: Command): void {
  const load = () => import('./commands/app-file.ts')
  app
    .command('init')
    .description('write an example with comments, which deploys as it stands; default: to stdout')
    .argument('[file]')
    .option('--group', 'of a group of apps', false)
    .option('--pod', 'of a pod', false)
    .option('--force', 'overwrite the file', false)
    .action(lazy(async () => (await load()).initApp))
  app
    .command('validate')
    .description('is a file right? by the parser of the master, but without one; with line and column')
    .argument('<file>', 'YAML or JSON; - for standard input')
    .action(lazy(async () => (await load()).validateFile))
  app
    .command('plan')
    .description('what deploying a file would change, restart and place, and what would not fit; nothing is done')
    .argument('<file>', 'YAML or JSON; - for standard input')
    .action(lazy(async () => (await load()).planFile))
  forcing(waiting(app.command('deploy')))
    .alias('add')
    .description('make or change the apps, groups and pods of a file; shows how far they are')
    .argument('<file>', 'YAML or JSON, several with --- between; - for standard input')
    .addHelpText(
      'after',
      `
Examples:
  weft app init web.yaml             a file to begin with
  weft app plan web.yaml             what would happen
  weft app deploy web.yaml           make it so, and wait until it can be reached
  weft app deploy web.yaml --no-wait --force

A file is the whole definition: a field that it leaves out has its default again.
Ctrl-C ends the command, not the deployment.`,
    )
    .action(lazy(async () => (await load()).deployFile))
}

function addAppChangeCommands(app: Command): void {
  const load = () => import('./commands/app.ts')
  const change = (name: string, description: string) =>
    forcing(waiting(app.command(name)))
      .description(description)
      .argument('<id>', 'of the app, like /shop/web')
  change('scale', 'change the number of instances')
    .argument('<instances>')
    .action(lazy(async () => (await load()).scaleApp))
  change('restart', 'new instances for old, by the upgrade strategy').action(
    lazy(async () => (await load()).restartApp),
  )
  change('rollback', 'go back to a version; default: the one before')
    .argument('[version]', 'as weft app versions tells it')
    .action(lazy(async () => (await load()).rollBackApp))
  change('stop', 'no instances; the app stays').action(lazy(async () => (await load()).stopApp))
  waiting(app.command('remove'))
    .description('stop all its tasks and forget it')
    .argument('<id>')
    .action(lazy(async () => (await load()).removeApp))
}

function addAppViewCommands(app: Command): void {
  const load = () => import('./commands/app.ts')
  app
    .command('list')
    .description('all apps, and which are being deployed')
    .action(lazy(async () => (await load()).listApps))
  app
    .command('show')
    .description('an app as the API tells it')
    .argument('<id>')
    .action(lazy(async () => (await load()).showApp))
  app
    .command('versions')
    .description('what an app was, the newest first')
    .argument('<id>')
    .action(lazy(async () => (await load()).listVersions))
  app
    .command('logs')
    .description('what the tasks of an app have written')
    .argument('<id>')
    .option('-f, --follow', 'go on until interrupted', false)
    .option('--stderr', 'their stderr instead of their stdout', false)
    .option('--lines <n>', 'how many of the last lines of each', '100')
    .action(lazy(async () => (await import('./commands/app-logs.ts')).appLogs))
  app
    .command('exec')
    .description('run a command in the first task of an app; on the machine of a local cluster only')
    .argument('<id>')
    .argument('<command...>', 'program and arguments, after --')
    .action(lazy(async () => (await import('./commands/exec.ts')).exec))
  app
    .command('events')
    .description('what happens, as it happens, until interrupted; of one app or of all')
    .argument('[id]')
    .action(lazy(async () => (await import('./commands/app-logs.ts')).appEvents))
}

function addGroupCommands(program: Command): void {
  const load = () => import('./commands/group.ts')
  const group = program.command('group').description('groups of apps, which are deployed together')
  group
    .command('list')
    .description('all groups')
    .action(lazy(async () => (await load()).listGroups))
  group
    .command('show')
    .description('a group as the API tells it, with its apps')
    .argument('<id>')
    .action(lazy(async () => (await load()).showGroup))
  forcing(waiting(group.command('deploy')))
    .description('make or change the groups of a file; what it does not list any more goes')
    .argument('<file>', 'YAML or JSON; - for standard input')
    .action(lazy(async () => (await import('./commands/app-file.ts')).deployGroup))
  forcing(waiting(group.command('scale')))
    .description('so many times the instances of each app, rounded up')
    .argument('<id>')
    .argument('<factor>', 'like 2 or 0.5')
    .action(lazy(async () => (await load()).scaleGroup))
  forcing(waiting(group.command('remove')))
    .description('stop and forget everything in it')
    .argument('<id>')
    .action(lazy(async () => (await load()).removeGroup))
}

function addPodCommands(program: Command): void {
  const load = () => import('./commands/pod.ts')
  const pod = program
    .command('pod')
    .description('pods: containers that share an address; deploy them by weft app deploy')
  pod
    .command('list')
    .description('all pods')
    .action(lazy(async () => (await load()).listPods))
  pod
    .command('show')
    .description('a pod and its instances as the API tells them')
    .argument('<id>')
    .action(lazy(async () => (await load()).showPod))
  forcing(waiting(pod.command('remove')))
    .description('stop all its instances and forget it')
    .argument('<id>')
    .action(lazy(async () => (await load()).removePod))
}

function addDeploymentCommands(program: Command): void {
  const load = () => import('./commands/deployment.ts')
  const deployment = program.command('deployment').description('changes that are under way')
  deployment
    .command('list')
    .description('those that are not over, and what they wait for')
    .action(lazy(async () => (await load()).listDeployments))
  deployment
    .command('show')
    .description('its steps, and which task waits for what')
    .argument('<id>')
    .action(lazy(async () => (await load()).showDeployment))
  deployment
    .command('wait')
    .description('follow one until it is done')
    .argument('<id>')
    .option('--timeout <seconds>', 'then tell what waits for what, and end with 1; the deployment goes on', '300')
    .action(lazy(async () => (await load()).waitDeployment))
  waiting(deployment.command('rollback'))
    .description('go back to what was before it, by a new deployment')
    .argument('<id>')
    .action(lazy(async () => (await load()).rollBackDeployment))
  deployment
    .command('cancel')
    .description('give it up where it is')
    .argument('<id>')
    .action(lazy(async () => (await load()).cancelDeployment))
}
