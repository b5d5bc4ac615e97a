import { errorMessage } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { nameKey, parseName } from '../../discovery/dns/name.ts'
import { taskHash } from '../../discovery/dns/task-hash.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { wantedOfAll } from '../../discovery/records/wanted.ts'
import { judgeName } from './judge-tables.ts'
import { type Finding, type NameReport } from './model.ts'
import { type NodeReader } from './reader.ts'

/** The addresses of a name with the entities (`task web.1`, `vip web.marathon`) that they come from. Pure. */
export function recordsOf(snapshot: ClusterSnapshot, self: NodeName, name: string): NameReport['records'] {
  const wanted = wantedOfAll(snapshot, { self, config: namesConfig(), hash: taskHash })
  const key = nameKey(parseName(name))
  const found = new Map<Ip, string[]>()
  for (const [entity, contributions] of wanted) {
    for (const contribution of contributions.values()) {
      if (contribution.kind !== 'record' || nameKey(contribution.owner) !== key) continue
      const { data } = contribution
      if (data.type !== 'A' && data.type !== 'AAAA') continue
      found.set(data.address, [...(found.get(data.address) ?? []), entity])
    }
  }
  return [...found].map(([address, from]) => ({ address, from }))
}

/** Asks the node's own server for both kinds of addresses, and compares with what the snapshot says. */
export async function observeName(
  snapshot: ClusterSnapshot,
  reader: NodeReader,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal },
): Promise<{ readonly report: NameReport; readonly finding: Finding }> {
  const records = recordsOf(snapshot, reader.node, name)
  try {
    const answers = await Promise.all((['A', 'AAAA'] as const).map((type) => reader.resolve(name, type, { signal })))
    const report = { name, records, served: answers.flat() }
    return { report, finding: judgeName(reader.node, report) }
  } catch (error) {
    const report = { name, records, served: [] }
    return { report, finding: judgeName(reader.node, report, errorMessage(error)) }
  }
}
