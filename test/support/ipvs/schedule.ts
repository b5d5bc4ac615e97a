import { type Test } from 'tap'
import { type VipScheduler } from '../../../core/model/vip.ts'
import { askServers, startServer } from '../lb-traffic.ts'
import { type backend, backend as task, makeWorld, servers, vip } from '../lb-world.ts'

type Name = Parameters<typeof backend>[0]

/** Answers of twelve connections, one after another, by scheduler; weights 2, 1, 1. */
const spreads: Readonly<Record<VipScheduler, readonly number[] | 'one'>> = {
  wlc: [6, 3, 3],
  lc: [4, 4, 4],
  rr: [4, 4, 4],
  wrr: [6, 3, 3],
  sh: 'one',
  mh: 'one',
}

/** Each scheduler that a label may name: spread as it says, over both IP versions; changed while the VIP is there. */
export async function scheduleSuite(t: Test): Promise<void> {
  const { host, program, audit } = await makeWorld(t, { containers: 'all', dataPlane: 'ipvs' })
  for (const name of servers) await startServer(host(name), name, 8080)
  const targets = ([4, 6] as const).map((family) => {
    return { protocol: 'tcp', address: vip[family], port: 80, count: 12 } as const
  })
  for (const [scheduler, spread] of Object.entries(spreads)) {
    const weighted = (name: Name, weight: string) =>
      task(name, { labels: { VIP_0: '/web:80', 'lb-scheduler': scheduler, 'lb-weight': weight } })
    await program([])
    await program([weighted('b1', '2'), weighted('b2', '1'), weighted('b3', '1')])
    for (const [i, answers] of askServers(host('client'), targets).entries()) {
      const counts = servers.map((name) => answers.filter(({ server }) => server === name).length)
      const what = `${scheduler}: ${targets[i]?.address}: ${counts.join(' + ')}`
      if (spread === 'one')
        t.same(
          counts.toSorted((a, b) => b - a),
          [12, 0, 0],
          what,
        )
      else if (scheduler === 'wlc' || scheduler === 'lc')
        t.ok(
          counts.every((count) => count >= 2),
          what,
        )
      else t.same(counts, spread, what)
    }
    t.same(await audit(), [], 'nothing to repair')
  }
}
