import { type Test } from 'tap'
import { runAt } from '../../../core/cli/up/checks.ts'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { startHttpLoad } from '../http-load.ts'
import { eventually, servingTasks } from '../local-cluster.ts'
import { removeApps, settled, vipOf, webApp } from './stage.ts'

/** The aim is one second from the loss; a busy machine of two cores may take a little longer. */
const limitMs = 1_500
/** Load after the loss is known, in which nothing may fail any more. */
const measuredMs = 1_500

/** Thirty connections, one after another, by one process; what is not answered is told in a line of its own. */
const askProgram = `use IO::Socket::INET; for (1 .. 30) { my $r = 'none';
  my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 80, Timeout => 2);
  if ($s) { $s->autoflush(1); eval { local $SIG{ALRM} = sub { die }; alarm 2;
    print $s "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"; while (my $l = <$s>) { last if $l eq "\\r\\n" } $r = <$s>; alarm 0 }; alarm 0; close $s }
  chomp $r; print "$r\\n" }`

/** Who of the cluster sees one node vanish, and how hard they ask. */
export interface LossOptions {
  /** An agent. */
  readonly lost: string
  readonly watchers: readonly string[]
  readonly perSecond: number
}

/** The last agent's underlay goes down: the others bypass its backends at once, tell why, and take it back. */
export async function nodeLossSuite(
  t: Test,
  cluster: LocalCluster,
  { lost, watchers, perSecond }: LossOptions,
): Promise<void> {
  const { layout, api } = cluster
  const agents = layout.hosts.filter(({ kind }) => kind === 'agent').length
  await api.send('POST', '/v2/apps', { ...webApp(agents), constraints: [['hostname', 'UNIQUE']] })
  await settled(cluster)
  const tasks = await servingTasks(cluster, 'web')
  t.equal(tasks.length, agents)
  const vip = await vipOf(cluster, 'web')
  const [onLost = ''] = tasks.filter(({ node }) => node === lost).map(({ id }) => String(id))
  const target = { host: vip, port: 80, perSecond, connections: 'new', connectSeconds: 0.3 } as const
  const answering = async (where: string) => {
    return new Set((await runAt(layout, where, ['/usr/bin/perl', '-e', askProgram, vip])).split('\n'))
  }
  t.ok((await answering('agent1')).has(onLost), 'it serves at first')

  const loads = await Promise.all(watchers.map((where) => startHttpLoad(layout, where, target)))
  t.teardown(() => {
    for (const load of loads) load.end()
  })
  const cutMs = performance.timeOrigin + performance.now()
  await runAt(layout, lost, ['ip', 'link', 'set', 'eth0', 'down'])
  const telling = new RegExp(`node ${lost} \\S+ does not answer`, 'g')
  const told = await eventually('the others tell of it', async () => {
    const found = JSON.stringify(await api.get('/weft/v1/nodes')).match(telling) ?? []
    return found.length >= watchers.length ? found.length : undefined
  })
  t.ok(told)
  await new Promise((resolve) => setTimeout(resolve, measuredMs)) // how long it is measured; nothing is waited for
  for (const load of loads) {
    const { answered, failures } = await load.stop()
    const last = Math.max(0, ...failures.map(({ atMs }) => atMs - cutMs))
    t.ok(last < limitMs, `the last connection that failed began after ${Math.round(last)} ms; ${answered} answered`)
    t.ok(answered > 20)
  }
  for (const where of watchers) {
    const seen = await answering(where)
    t.notOk(seen.has(onLost) || seen.has('none'), `${where} bypasses it, and all is answered`)
  }

  await runAt(layout, lost, ['ip', 'link', 'set', 'eth0', 'up'])
  await eventually('it is taken back', async () => ((await answering('agent1')).has(onLost) ? true : undefined))
  await removeApps(cluster, 'web')
}
