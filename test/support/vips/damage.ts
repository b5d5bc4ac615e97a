import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Test } from 'tap'
import { isRecord } from '../../../core/cli/api.ts'
import { runAt } from '../../../core/cli/up/checks.ts'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { recordsOf } from '../../../core/cli/up/sample.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { startHttpLoad } from '../http-load.ts'
import { eventually } from '../local-cluster.ts'
import { balancingOf, dataPlaneOf, lookAtBalancing, namespaceOf, removeApps, settled, vipOf, webApp } from './stage.ts'

const weft = fileURLToPath(new URL('../../../core/cli/main.ts', import.meta.url))
const { signal } = new AbortController()
/** From the damage to the repair. */
const limitMs = 2_000
/** A request that began so long before the damage was under way. */
const underWayMs = 500
const host = 'agent1'

/** What somebody does by hand on the host, given the VIP. */
interface Damage {
  readonly what: string
  readonly by: (cluster: LocalCluster, vip: string) => Promise<void>
}

const command = (what: string, words: (vip: string) => readonly string[]): Damage => ({
  what,
  by: async (cluster, vip) => {
    await runAt(cluster.layout, host, words(vip))
  },
})

const route = command('the route', (vip) => ['ip', 'route', 'del', 'local', vip, 'table', 'local', 'proto', '87'])
const addresses = command('the set of VIPs', () => ['nft', 'flush', 'set', 'inet', 'weft', 'lb-address4'])

/** Changes the service's entry in the kernel's table: all of it, or its real servers. */
function onIpvs(what: string, kind: 'service' | 'destinations'): Damage {
  return {
    what,
    by: async (cluster, vip) => {
      const table = openIpvsTable({ netns: namespaceOf(cluster, host) })
      try {
        const entry = table.read().entries.find(({ service }) => service.address === vip)
        if (entry === undefined) throw new Error(`no service ${vip}`)
        const { service, destinations } = entry
        if (kind === 'service') await table.perform([{ kind: 'service.del', service }], { signal })
        for (const destination of kind === 'service' ? [] : destinations) {
          await table.perform([{ kind: 'destination.del', service, destination }], { signal })
        }
      } finally {
        table.close()
      }
    },
  }
}

const damages: Readonly<Record<'ipvs' | 'nftables', readonly Damage[]>> = {
  ipvs: [route, addresses, onIpvs('the service', 'service'), onIpvs('the real servers', 'destinations')],
  nftables: [
    route,
    addresses,
    command('the map of services', () => ['nft', 'flush', 'map', 'inet', 'weft', 'lb-service4']),
    command('the backends', () => ['nft', 'flush', 'map', 'inet', 'weft', 'lb-slot4-0']),
    command('the rules', () => ['nft', 'flush', 'chain', 'inet', 'weft', 'lb-prerouting']),
  ],
}

/** How much the host's load balancer has repaired, as the masters were told. */
async function repairsOf({ api }: LocalCluster): Promise<number> {
  const [node] = (await recordsOf(api, '/weft/v1/nodes', 'nodes')).filter(({ name }) => name === host)
  const daemon = node?.['daemon']
  const repairs = isRecord(daemon) ? daemon['repairs'] : undefined
  return isRecord(repairs) ? Number(repairs['lb'] ?? 0) : 0
}

/** What `weft explain` finds on the host's way to a target. */
async function explained({ layout }: LocalCluster, to: string): Promise<Record<string, unknown>> {
  const words = [weft, '--cluster', layout.name, '--json', 'explain', host, to]
  const { stdout } = await promisify(execFile)(process.execPath, words)
  const found: unknown = JSON.parse(stdout)
  if (!isRecord(found)) throw new Error(stdout)
  return found
}

/** Objects are deleted by hand under load: each is there again within two seconds, counted; only meanwhile requests fail. */
export async function damageSuite(t: Test, cluster: LocalCluster, perSecond: number): Promise<void> {
  const { layout, api } = cluster
  await api.send('POST', '/v2/apps', webApp(2))
  await settled(cluster)
  const vip = await vipOf(cluster, 'web')
  const target = { host: vip, port: 80, perSecond, connections: 'new', connectSeconds: 0.3 } as const
  const load = await startHttpLoad(layout, host, target)
  t.teardown(() => load.end())
  const nowMs = () => performance.timeOrigin + performance.now()
  const windows: (readonly [fromMs: number, toMs: number])[] = []
  const plane = await dataPlaneOf(cluster, host)
  const whole = await balancingOf(cluster, host)
  t.equal((await explained(cluster, `${vip}:80/tcp`))['problem'], undefined, 'explain finds the kernel as it should be')
  for (const { what, by } of damages[plane]) {
    const counted = await repairsOf(cluster)
    const fromMs = nowMs()
    await by(cluster, vip)
    const doneMs = nowMs()
    const repairedMs = await eventually(`${what} is there again`, async () => {
      const { atMs, balancing } = await lookAtBalancing(cluster, host)
      return balancing === whole ? atMs : undefined
    })
    const tookMs = Math.round(repairedMs - doneMs)
    t.ok(tookMs < limitMs, `${plane}: ${what}: repaired after ${tookMs} ms`)
    windows.push([fromMs, nowMs()])
    const more = await eventually('it is counted', async () => {
      const now = await repairsOf(cluster)
      return now > counted ? now - counted : undefined
    })
    t.ok(more, `${what}: ${more} repairs were counted`)
  }
  const { answered, failures } = await load.stop()
  const outside = failures.filter(({ atMs }) => !windows.some(([from, to]) => atMs >= from - underWayMs && atMs <= to))
  t.same(outside, [], `${answered} answered; ${failures.length} failed while something was missing, none else`)
  t.ok(answered > 20)
  await removeApps(cluster, 'web')
}
