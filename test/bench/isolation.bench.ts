import { type Policy } from '../../core/model/policy.ts'
import { type ClusterSnapshot, emptySnapshot } from '../../core/model/snapshot.ts'
import { openIsolationStage } from '../../networking/isolation/stage.ts'
import { openNft } from '../../networking/nft/open.ts'
import { type Stage } from '../../networking/node/stage.ts'
import { nftTable } from '../../networking/protocol.ts'
import { makeHost, type TestHost } from '../support/hosts.ts'
import { testChange, testNetwork, testSnapshot } from '../support/lb-snapshot.ts'
import { makeRouterNode, plugContainer } from '../support/lb-world.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { testPolicy } from '../support/policies.ts'
import { type Bench, type BenchRow, median } from './report.ts'

const { signal } = new AbortController()
const networkCount = 1000
const rounds = 7
const pings = 4000
const changes = 21

const networks = Array.from({ length: networkCount }, (_, i) =>
  testNetwork(`n${i}`, i + 1, `10.${64 + (i >> 8)}.${i & 255}.0/24`, `fd00:${(i + 1).toString(16)}::/64`),
)
const policyOf = (i: number): Policy =>
  testPolicy(`p${i}`, {
    from: `network:n${i % networkCount}`,
    to: `network:n${(i * 7 + 1) % networkCount}`,
    protocol: 'tcp',
    ports: ['80', '443', '8000-8100'],
  })
const policies = Array.from({ length: networkCount }, (_, i) => policyOf(i))

/** Mean half round trip of a flood of pings, one at a time, in microseconds: ping prints min/avg/max/mdev in ms. */
function halfRttUs(client: TestHost, address: string): number {
  const text = client.run('ping', '-q', '-f', '-c', String(pings), address)
  const [, average] = /= [\d.]+\/([\d.]+)\//.exec(text) ?? []
  return (Number(average) * 1000) / 2
}

function row(metric: string, figures: Pick<BenchRow, 'ours' | 'goal' | 'holds'> & Partial<BenchRow>): BenchRow {
  return {
    bench: 'isolation',
    metric,
    peer: null,
    peerName: null,
    ratio: null,
    conditions: `${networkCount} networks of IPv4 and IPv6, ${networkCount} policies with 3 port ranges`,
    ...figures,
  }
}

async function change(stage: Stage, from: ClusterSnapshot, to: ClusterSnapshot): Promise<number> {
  const step = testChange(from, to)
  const start = performance.now()
  const steps = stage.plan(step)
  await steps.add({ signal })
  await steps.remove({ signal })
  return performance.now() - start
}

/** What a packet pays for a thousand networks with policies; what a change of one policy, and of all, takes. */
export const run: Bench = async (report) => {
  const [bare, full, ends] = [
    makeHost('bare'),
    makeHost('full'),
    ['c0', 's0', 'c1', 's1'].map((name) => makeHost(name)),
  ]
  const [bareClient = bare, bareServer = bare, client = bare, server = bare] = ends
  try {
    for (const [node, from, to] of [
      [bare, bareClient, bareServer],
      [full, client, server],
    ] as const) {
      makeRouterNode(node)
      plugContainer(node, from, { device: 'wfa', ip4: '10.64.3.2', ip6: 'fd00:4::2' })
      plugContainer(node, to, { device: 'wfb', ip4: '10.64.3.3', ip6: 'fd00:4::3' })
    }
    // The peer tracks connections too, as any node does, and has no other rule.
    bare.run(
      'nft',
      'add table inet none; add chain inet none f { type filter hook forward priority 0; }; add rule inet none f ct state established accept',
    )
    const nft = await openNft({ namespace: nftNamespace(full) })
    const stage = openIsolationStage({ nft, table: nftTable })
    const snapshot = testSnapshot(1, { networks, policies })
    await change(stage, emptySnapshot, snapshot)
    const ratios: number[] = []
    const [ours, peers]: [number[], number[]] = [[], []]
    for (let i = 0; i < rounds; i++) {
      const [peer, own] = [halfRttUs(bareClient, '10.64.3.3'), halfRttUs(client, '10.64.3.3')]
      ours.push(own)
      peers.push(peer)
      ratios.push(own / peer)
    }
    const ratio = median(ratios)
    report(
      row('half RTT in µs', {
        ...{ ours: median(ours), peer: median(peers), peerName: 'no rules', ratio },
        ...{ goal: 'ratio <= 1.3', holds: ratio <= 1.3 },
      }),
    )
    const times: number[] = []
    let current = snapshot
    for (let i = 0; i < changes; i++) {
      const extra = { ...policyOf(i * 13 + 5), name: `extra${i}` }
      const next = {
        ...current,
        version: current.version + 1,
        policies: new Map([...current.policies, [extra.name, extra]]),
      }
      times.push(await change(stage, current, next))
      current = next
    }
    report(row('one policy added, in ms', { ours: median(times), goal: 'ours <= 20', holds: median(times) <= 20 }))
    const others = policies.map((policy, i) => ({ ...policyOf(i * 3 + 2), name: policy.name, action: 'deny' as const }))
    const replaced = testSnapshot(current.version + 1, { networks, policies: others })
    const ms = await change(stage, current, replaced)
    report(row('all policies replaced in one transaction, in ms', { ours: ms, goal: 'atomic', holds: true }))
    nft.close()
  } finally {
    for (const host of [...ends, bare, full]) host.remove()
  }
}
