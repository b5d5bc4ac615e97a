import { type Test } from 'tap'
import { type VipScheduler } from '../../core/model/vip.ts'
import { type DataPlaneMode } from '../../lb/open.ts'
import { askServers, startServer } from './lb-traffic.ts'
import { type backend, backend as task, makeWorld, servers, vip } from './lb-world.ts'

type Name = Parameters<typeof backend>[0]

/** Answers of twelve connections, one after another, by scheduler; weights 2, 1, 1. `all`: each answers some. */
const spreads: Readonly<Record<VipScheduler, readonly number[] | 'one' | 'all'>> = {
  wlc: 'all',
  lc: 'all',
  rr: [4, 4, 4],
  wrr: [6, 3, 3],
  sh: 'one',
  mh: 'one',
}

/** At random, 12 would leave one of three out too often; 72 do once in a billion runs. */
const attempts = { all: 72, one: 12 } as const

/** Each scheduler that a label may name: spread as it says, over both IP versions; changed while the VIP is there. */
export async function scheduleSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  const { host, program, audit } = await makeWorld(t, { containers: 'all', dataPlane })
  for (const name of servers) await startServer(host(name), name, 8080)
  for (const [scheduler, spread] of Object.entries(spreads)) {
    const weighted = (name: Name, weight: string) =>
      task(name, { labels: { VIP_0: '/web:80', 'lb-scheduler': scheduler, 'lb-weight': weight } })
    await program([weighted('b1', '2'), weighted('b2', '1'), weighted('b3', '1')])
    const count = typeof spread === 'string' ? attempts[spread] : 12
    const targets = ([4, 6] as const).map((family) => {
      return { protocol: 'tcp', address: vip[family], port: 80, count } as const
    })
    for (const [i, answers] of askServers(host('client'), targets).entries()) {
      const counts = servers.map((name) => answers.filter(({ server }) => server === name).length)
      checkSpread(t, { counts, spread, what: `${scheduler}: ${targets[i]?.address}: ${counts.join(' + ')}` })
    }
    t.same(await audit(), [], 'nothing to repair')
  }
}

interface Observed {
  readonly counts: readonly number[]
  readonly spread: readonly number[] | 'one' | 'all'
  readonly what: string
}

function checkSpread(t: Test, { counts, spread, what }: Observed): void {
  if (spread === 'all')
    t.ok(
      counts.every((count) => count > 0),
      what,
    )
  else if (spread === 'one') t.same(counts.toSorted(), [0, 0, attempts.one].toSorted(), what)
  else t.same(counts, spread, what)
}
