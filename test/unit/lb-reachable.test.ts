import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { bypassUnreachable } from '../../lb/vip/reachable.ts'

/** Weights of backends on nodes n0, n1, n2, …; nodes that can't be reached; weights then. */
const cases: readonly (readonly [string, readonly number[], readonly number[], readonly number[]])[] = [
  ['all reached', [1, 2, 0], [], [1, 2, 0]],
  ['one bypassed', [1, 2, 3], [1], [1, 0, 3]],
  ['one that drains anyway', [1, 0], [1], [1, 0]],
  ['none that serves is reached: all kept', [1, 2], [0, 1], [1, 2]],
  ['only one that drains is reached: all kept', [0, 2, 3], [1, 2], [0, 2, 3]],
  ['a node that has none', [1], [7], [1]],
  ['nothing', [], [0], []],
]

t.test('backends on nodes that cannot be reached', async (t) => {
  for (const [name, weights, unreachable, expected] of cases) {
    const node = (i: number) => parseNodeName(`n${i}`)
    const group = weights.map((weight, i) => {
      return { node: node(i), backend: { address: parseIp(`10.80.0.${i}`), port: 80, weight } }
    })
    const found = bypassUnreachable(group, new Set(unreachable.map(node)))
    t.same(
      found.map(({ backend }) => backend.weight),
      expected,
      name,
    )
  }
})
