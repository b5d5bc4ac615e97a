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

interface Sums {
  readonly total: number
  readonly packets: number
  readonly bytes: number
}

/** What is remembered of a backend: the flows of the last reading, and the sums of those that are gone. */
interface Seen {
  readonly flows: ReadonlyMap<string, Sums>
  readonly ended: Sums
}

/**
 * The translation's maps count nothing, so conntrack is read. Sums are of all that any reading saw: a TCP connection is
 * tracked for 120 s after its end (10 s when it was reset), so whoever reads each 10 s misses none.
 *
 * Rejected: counters of map elements, which would go with each element that another backend takes; destroy events of
 * conntrack, which slow down every connection of the machine.
 */
export function openNftablesCounters({ conntrack, vips }: NftablesCountersOptions): CounterReader {
  let seen: ReadonlyMap<string, Seen> = new Map()
  const read = async () => {
    const flows = await vipFlows(conntrack, vips())
    seen = remember(seen, flows)
    const counters = new Map<string, BackendCounters>()
    for (const [key, known] of seen) {
      const list = flows.get(key) ?? []
      const active = list.filter(isActive).length
      const { total, packets, bytes } = [...known.flows.values()].reduce(plus, known.ended)
      const counted = packets > 0 ? { packets, bytes } : {}
      counters.set(key, { active, inactive: list.length - active, total, ...counted })
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

function remember(before: ReadonlyMap<string, Seen>, flows: FlowsByBackend): ReadonlyMap<string, Seen> {
  const next = new Map<string, Seen>()
  for (const key of new Set([...before.keys(), ...flows.keys()])) {
    const present = new Map((flows.get(key) ?? []).map((flow) => [identity(flow), sumsOf(flow)]))
    const { flows: earlier, ended } = before.get(key) ?? { flows: new Map<string, Sums>(), ended: none }
    const gone = [...earlier].filter(([id]) => !present.has(id)).map(([, sums]) => sums)
    next.set(key, { flows: present, ended: gone.reduce(plus, ended) })
  }
  return next
}

const none: Sums = { total: 0, packets: 0, bytes: 0 }

function sumsOf({ packets = 0, bytes = 0 }: Flow): Sums {
  return { total: 1, packets, bytes }
}

function plus(a: Sums, b: Sums): Sums {
  return { total: a.total + b.total, packets: a.packets + b.packets, bytes: a.bytes + b.bytes }
}

/** The id is the entry's place in memory: another connection may get it, hardly with the same client port. */
function identity({ id, original }: Flow): string {
  return `${Buffer.from(id ?? []).toString('hex')} ${original.source} ${original.sourcePort}`
}

function isActive({ tcpState, status = 0 }: Flow): boolean {
  return tcpState === undefined ? (status & IPS_SEEN_REPLY) !== 0 : tcpState === TCP_CONNTRACK_ESTABLISHED
}

/** include/uapi/linux/netfilter/nf_conntrack_common.h */
const IPS_SEEN_REPLY = 2
