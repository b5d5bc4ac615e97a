import { Command } from 'commander'
import { lazy } from './lazy.ts'
import { addPolicyCommands } from './program-policy.ts'
import { addNodeLifeCommands, addRoleCommands } from './program-operator.ts'
import { addServiceCommands } from './program-services.ts'
import { version } from './version.ts'

/** Global options, as each command sees them. */
export interface GlobalOptions {
  readonly json: boolean
  readonly cluster: string
  readonly master?: string
}

const helpEnd = `
Examples:
  weft up -d                           a cluster on this machine
  weft app init hello.yaml             an example of a service
  weft app deploy hello.yaml           run it, and wait until it can be reached
  weft task list                       where it runs
  weft down

Exit status: 0 done; 1 it failed; 2 wrong usage, or a file that can't be read as it should.
Environment: WEFT_MASTER is as --master; WEFT_DEBUG=1 shows where an error comes from.`

/** The `weft` command. */
export function createProgram(): Command {
  const program = new Command('weft')
    .description('IP per container, service discovery and virtual addresses on a compact Mesos-like core')
    .version(version(), '--version')
    .option('--json', 'print results as JSON', false)
    .option('--cluster <name>', 'which local cluster', 'local')
    .option(
      '--master <urls>',
      'HTTP address of a master, several with commas, instead of a local cluster (or WEFT_MASTER)',
    )
    .showHelpAfterError('(weft --help tells the commands)')
    .exitOverride() // commands that are added from here on throw too: main.ts chooses the exit status
  addClusterCommands(program)
  addServiceCommands(program)
  addJobCommands(program)
  addViewCommands(program)
  addDnsCommands(program)
  addNetworkCommands(program)
  addPolicyCommands(program)
  addRoleCommands(program)
  addCniCommands(program)
  program
    .command('completion')
    .description('a script by which a shell completes commands, options and names: source <(weft completion bash)')
    .argument('<shell>', 'bash, zsh or fish')
    .action(lazy(async () => (await import('./commands/completion.ts')).printCompletion))
  program.addHelpText('after', helpEnd)
  return program
}

function addClusterCommands(program: Command): void {
  program
    .command('up')
    .description('start a cluster on this machine: simulated hosts in network namespaces')
    .option('--agents <n>', 'how many agents', '3')
    .option('--masters <n>', 'how many masters: 1, or 3 or 5 with a store that they share', '1')
    .option('--store <kind>', 'what masters keep their registry in: sqlite, redis or zookeeper', 'sqlite')
    .option('--port <n>', 'port of the API on 127.0.0.1; 0: any free one', '5050')
    .option('-d, --detach', 'leave it running in the background', false)
    .option('--sample', 'deploy a sample application and show what it got', false)
    .option('--direct-routing <mode>', 'containers of other hosts without VXLAN: auto, always, never', 'auto')
    .option('--docker-host <socket>', 'Docker Engine for containers of type DOCKER: unix:///PATH')
    .option('--verify', 'with the sample: check every fact, tell PASS or FAIL, remove everything', false)
    .action(lazy(async () => (await import('./commands/up.ts')).up))
  program
    .command('down')
    .description('remove a local cluster: processes, containers, namespaces, state')
    .action(lazy(async () => (await import('./commands/down.ts')).down))
  program
    .command('exec')
    .description('run a command on a simulated host or in a task (an id, its beginning, or an app)')
    .argument('<where>', 'host or task')
    .argument('<command...>', 'after --')
    .action(lazy(async () => (await import('./commands/exec.ts')).exec))
}

function addJobCommands(program: Command): void {
  const jobs = () => import('./commands/job.ts')
  const runs = () => import('./commands/job-runs.ts')
  const job = program.command('job').description('commands that end: now, by a cron schedule, or after other jobs')
  job
    .command('add')
    .description('add the jobs of a YAML or JSON file (- for standard input), or change those that exist')
    .argument('<file>')
    .action(lazy(async () => (await jobs()).addJob))
  job
    .command('list')
    .description('jobs, what became of their runs, and the next one')
    .action(lazy(async () => (await jobs()).listJobs))
  job
    .command('show')
    .description('a job as the API tells it')
    .argument('<id>')
    .action(lazy(async () => (await jobs()).showJob))
  job
    .command('run')
    .description('start a run now')
    .argument('<id>')
    .option('--wait', 'until it is over; the exit status is 1 when it failed', false)
    .action(lazy(async () => (await runs()).runJob))
  job
    .command('runs')
    .description('runs that are not over, and the last of those that are')
    .argument('<id>')
    .action(lazy(async () => (await runs()).listRuns))
  job
    .command('stop')
    .description('stop a run')
    .argument('<id>')
    .argument('<run>')
    .action(lazy(async () => (await runs()).stopRun))
  job
    .command('logs')
    .description('what a run wrote, in a cluster on this machine; default: the last run')
    .argument('<id>')
    .argument('[run]')
    .action(lazy(async () => (await runs()).jobLogs))
  job
    .command('schedule')
    .description('run a job by a cron pattern of five fields; without one: show its schedules')
    .argument('<id>')
    .argument('[cron]')
    .option('--id <name>', 'which schedule of the job', 'default')
    .option('--timezone <zone>', 'IANA name', 'UTC')
    .option('--deadline <seconds>', 'a run that could not start within this is left out', '900')
    .option('--forbid', 'not while another run is not over', false)
    .option('--disable', 'keep it, but do not follow it', false)
    .option('--remove', 'remove the schedule', false)
    .action(lazy(async () => (await jobs()).scheduleJob))
  job
    .command('remove')
    .description('forget a job, its schedules and its history')
    .argument('<id>')
    .option('--stop', 'stop its runs', false)
    .action(lazy(async () => (await jobs()).removeJob))
}

function addViewCommands(program: Command): void {
  const view = (name: string, description: string) => program.command(name).description(description)
  addTaskCommands(view('task', 'tasks, and what they write'))
  addVipCommands(program)
  view('explain', 'follow a connection through the kernels of both nodes, and name the first thing that is wrong')
    .argument('<from>', 'a task, host or address')
    .argument('<to>', 'a task, host, name, VIP or address, then :PORT and /tcp or /udp if wanted')
    .action(lazy(async () => (await import('./commands/explain.ts')).explain))
  view('converge', 'wait until a version of the cluster has reached every node')
    .argument('[version]', 'default: the current one')
    .option('--timeout <seconds>', 'how long to wait', '30')
    .action(lazy(async () => (await import('./commands/views.ts')).converge))
}

function addTaskCommands(task: Command): void {
  task
    .command('list')
    .description('all tasks')
    .action(lazy(async () => (await import('./commands/views.ts')).listTasks))
  const one = (name: string, description: string) =>
    task.command(name).description(description).argument('<task>', 'its id, or the beginning of it')
  one('show', 'all that the master knows of it').action(lazy(async () => (await import('./commands/task.ts')).showTask))
  one('logs', 'what it has written')
    .option('-f, --follow', 'go on until interrupted', false)
    .option('--stderr', 'its stderr instead of its stdout', false)
    .option('--lines <n>', 'how many of the last lines', '100')
    .action(lazy(async () => (await import('./commands/task.ts')).taskLogs))
  one('exec', 'run a command in it; on the machine of a local cluster only')
    .argument('<command...>', 'program and arguments, after --')
    .action(lazy(async () => (await import('./commands/exec.ts')).exec))
  one('kill', 'end a task of an app; a new one takes its place').action(
    lazy(async () => (await import('./commands/task.ts')).killTask),
  )
}

function addDnsCommands(program: Command): void {
  const dns = program
    .command('dns')
    .description("ask a node's name server: query (the default), records, trace, stats; serve another")
  const at = (command: Command) => command.option('--host <host>', 'on which simulated host; default: the first')
  at(dns.command('query', { isDefault: true }))
    .description('ask as any program would')
    .argument('<name>')
    .argument('[type]', 'A, AAAA, SRV, PTR, SOA, TXT', 'A')
    .option('--tcp', 'ask over TCP', false)
    .action(lazy(async () => (await import('./commands/dns.ts')).dnsQuery))
  at(dns.command('records'))
    .description('every name that leads to an address or a service')
    .argument('[text]', 'only names that hold it')
    .action(lazy(async () => (await import('./commands/dns-names.ts')).dnsRecords))
  at(dns.command('trace'))
    .description('how the answer comes about: older name, zone, records, and what brought each of them')
    .argument('<name>')
    .argument('[type]', 'A, AAAA, SRV, PTR, SOA, TXT', 'A')
    .action(lazy(async () => (await import('./commands/dns-names.ts')).dnsTrace))
  const file = (command: Command) => command.option('--file <path>', 'the file', '/etc/resolv.conf')
  file(dns.command('install'))
    .description("let this machine's programs ask the node's name server, once it answers")
    .option('--force', 'also while it does not answer', false)
    .action(lazy(async () => (await import('./commands/dns-install.ts')).installResolver))
  file(dns.command('uninstall'))
    .description('put back exactly what install set aside')
    .option('--force', 'also when somebody has changed the file since', false)
    .action(lazy(async () => (await import('./commands/dns-install.ts')).uninstallResolver))
  at(dns.command('stats'))
    .description('names, answers, drops, and names that several tasks share without wanting to')
    .action(lazy(async () => (await import('./commands/dns-names.ts')).dnsStats))
  dns
    .command('serve')
    .description('a drop-in Mesos-DNS for a Mesos cluster that Weft does not run')
    .option('--mesos <urls>', 'masters, like http://192.0.2.1:5050,http://192.0.2.2:5050, or zk://192.0.2.1:2181/mesos')
    .option('--config <file>', "Mesos-DNS's configuration file")
    .option('--listen <places>', 'ADDRESS:PORT of UDP and TCP, several with commas')
    .option('--http <place>', "ADDRESS:PORT of Mesos-DNS's HTTP interface")
    .action(lazy(async () => (await import('./commands/dns-serve.ts')).dnsServe))
}

function addVipCommands(program: Command): void {
  const load = () => import('./commands/vip.ts')
  const show = () => import('./commands/vip-show.ts')
  const vip = program.command('vip').description('virtual addresses: list, show, create, remove')
  vip
    .command('list')
    .description('what is behind each and what it gets, and names that have an address and no backends now')
    .option('--interval <seconds>', 'time between two readings, which rates are made of; 0: no rates', '0')
    .action(lazy(async () => (await show()).listVips))
  vip
    .command('show')
    .description('the backends, what each gets, and why one gets nothing new')
    .argument('<name>', 'NAME, NAME.FRAMEWORK or an address')
    .option('--nodes', 'what each node sends, too', false)
    .option('--interval <seconds>', 'time between two readings, which rates are made of; 0: no rates', '1')
    .action(lazy(async () => (await show()).showVip))
  vip
    .command('create')
    .description('reserve addresses for a name; they are given to nobody else')
    .argument('<name>', 'NAME.FRAMEWORK, like web.marathon')
    .option('--address <address...>', 'at most one IPv4 and one IPv6 address of the VIP range', [])
    .action(lazy(async () => (await load()).createVip))
  vip
    .command('remove')
    .description('end a reservation; of a VIP without one and without tasks: free its address at once')
    .argument('<name>', 'NAME.FRAMEWORK')
    .action(lazy(async () => (await load()).removeVip))
}

function addNetworkCommands(program: Command): void {
  const node = program
    .command('node')
    .description('machines of the cluster: list, drain, deactivate, reactivate, gone, remove')
  node
    .command('list')
    .description('machines, and how far each is')
    .action(lazy(async () => (await import('./commands/views.ts')).listNodes))
  node
    .command('remove')
    .description('forget a machine whose agent and node daemon have stopped for good; its subnets come back')
    .argument('<name>')
    .option('--no-wait', 'return at once')
    .action(lazy(async () => (await import('./commands/node.ts')).removeNode))
  addNodeLifeCommands(node)
  program
    .command('master')
    .description('masters of the cluster: list')
    .command('list')
    .description('who leads, in which term, and who stands by')
    .action(lazy(async () => (await import('./commands/master.ts')).listMasters))
  const network = program.command('network').description('virtual networks: list, show, create, remove')
  network
    .command('list')
    .description('all networks')
    .action(lazy(async () => (await import('./commands/network.ts')).listNetworks))
  network
    .command('show')
    .description("used, free and resting addresses of each node's part")
    .argument('<name>')
    .action(lazy(async () => (await import('./commands/network.ts')).showNetwork))
  network
    .command('create')
    .description('make a virtual network; its ranges and VNI are chosen where none are given')
    .argument('<name>')
    .option('--subnet <cidr...>', 'at most one IPv4 and one IPv6 range', [])
    .option('--vni <number>', 'VXLAN network identifier')
    .option('--no-wait', 'return at once')
    .action(lazy(async () => (await import('./commands/network.ts')).createNetwork))
  network
    .command('remove')
    .description('refused while a task, an app or a container uses it')
    .argument('<name>')
    .option('--no-wait', 'return at once')
    .action(lazy(async () => (await import('./commands/network.ts')).removeNetwork))
}

function addCniCommands(program: Command): void {
  const cni = program.command('cni').description('make podman, containerd and other CNI runtimes use the networks')
  const folders = (command: Command) =>
    command
      .option('--bin-dir <folder>', 'where runtimes look for plugins', '/opt/cni/bin')
      .option('--conf-dir <folder>', 'where runtimes look for networks', '/etc/cni/net.d')
  folders(cni.command('install'))
    .description("install the plugin, and a configuration for each of the cluster's networks")
    .option('--socket <path>', "the node daemon's socket; default: that of the host")
    .option('--host <host>', 'whose node daemon to use; default: the first with an agent')
    .action(lazy(async () => (await import('./commands/cni.ts')).installCni))
  folders(cni.command('uninstall'))
    .description('remove what install wrote')
    .action(lazy(async () => (await import('./commands/cni.ts')).uninstallCni))
}
