import { type Ip } from '../../core/base/ip.ts'
import { type Protocol } from '../../core/model/task.ts'
import { type ConntrackTable, type Flow } from '../../networking/netlink/conntrack.ts'
import { type BackendCounters, backendKey, type CounterReader } from '../counters.ts'

/** What the reader works with. The table stays its opener's. */
export interface NftablesCountersOptions {
  readonly conntrack: Pick<ConntrackTable, 'list'>
  /** Asked once for each reading: conntrack also has port mappings and others' translations. */
  readonly vips: () => ReadonlySet<Ip>
}

/** IPPROTO_*, include/uapi/linux/in.h */
const protocolNumber: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 }
/** TCP_CONNTRACK_ESTABLISHED, include/uapi/linux/netfilter/nf_conntrack_tcp.h */
const TCP_CONNTRACK_ESTABLISHED = 3

/** What is remembered of a connection until it is not tracked any more. */
type Seen = ReadonlyMap<string, { readonly ids: ReadonlySet<string>; readonly ended: number }>

/**
 * The translation's maps count nothing, so conntrack is read. `total` is all that any reading saw: a TCP connection is
 * tracked for 120 s after its end (10 s when it was reset), so whoever reads each 10 s misses none.
 *
 * Rejected: counters of map elements, which would go with each element that another backend takes; destroy events of
 * conntrack, which slow down every connection of the machine.
 */
export function openNftablesCounters({ conntrack, vips }: NftablesCountersOptions): CounterReader {
  let seen: Seen = new Map()
  const read = async () => {
    const flows = await vipFlows(conntrack, vips())
    seen = remember(seen, flows)
    const counters = new Map<string, BackendCounters>()
    for (const [key, list] of flows) {
      const { ids, ended } = seen.get(key) ?? { ids: new Set(), ended: 0 }
      counters.set(key, { ...count(list), total: ended + ids.size })
    }
    for (const [key, { ended }] of seen) {
      if (!counters.has(key)) counters.set(key, { active: 0, inactive: 0, total: ended })
    }
    return counters
  }
  return { counts: 'readings', read, close: () => undefined }
}

type FlowsByBackend = ReadonlyMap<string, readonly Flow[]>

async function vipFlows(conntrack: Pick<ConntrackTable, 'list'>, vips: ReadonlySet<Ip>) {
  const flows = new Map<string, Flow[]>()
  for (const family of [4, 6] as const) {
    for (const protocol of ['tcp', 'udp'] as const) {
      for (const flow of await conntrack.list({ family, protocol: protocolNumber[protocol] })) {
        const key = keyOf(flow, protocol, vips)
        if (key === undefined) continue
        const list = flows.get(key)
        if (list === undefined) flows.set(key, [flow])
        else list.push(flow)
      }
    }
  }
  return flows
}

function keyOf({ original, reply }: Flow, protocol: Protocol, vips: ReadonlySet<Ip>): string | undefined {
  const { destination: address, destinationPort: port } = original
  if (address === undefined || port === undefined || !vips.has(address)) return undefined
  const { source, sourcePort } = reply
  if (source === undefined || sourcePort === undefined || source === address) return undefined // refused
  return backendKey({ protocol, address, port }, { address: source, port: sourcePort })
}

function remember(before: Seen, flows: FlowsByBackend): Seen {
  const next = new Map<string, { ids: ReadonlySet<string>; ended: number }>()
  for (const key of new Set([...before.keys(), ...flows.keys()])) {
    const ids = new Set((flows.get(key) ?? []).map(identity))
    const { ids: earlier, ended } = before.get(key) ?? { ids: new Set<string>(), ended: 0 }
    let gone = 0
    for (const id of earlier) if (!ids.has(id)) gone++
    next.set(key, { ids, ended: ended + gone })
  }
  return next
}

/** The id is the entry's place in memory: another connection may get it, hardly with the same client port. */
function identity({ id, original }: Flow): string {
  return `${Buffer.from(id ?? []).toString('hex')} ${original.source} ${original.sourcePort}`
}

function count(flows: readonly Flow[]): Omit<BackendCounters, 'total'> {
  const active = flows.filter(isActive).length
  const counted = flows.filter(({ packets }) => packets !== undefined)
  const known = counted.length === flows.length && flows.length > 0
  return {
    ...{ active, inactive: flows.length - active },
    ...(known ? { packets: sum(counted, 'packets'), bytes: sum(counted, 'bytes') } : {}),
  }
}

function isActive({ tcpState, status = 0 }: Flow): boolean {
  return tcpState === undefined ? (status & IPS_SEEN_REPLY) !== 0 : tcpState === TCP_CONNTRACK_ESTABLISHED
}

/** include/uapi/linux/netfilter/nf_conntrack_common.h */
const IPS_SEEN_REPLY = 2

function sum(flows: readonly Flow[], what: 'packets' | 'bytes'): number {
  return flows.reduce((all, flow) => all + (flow[what] ?? 0), 0)
}
