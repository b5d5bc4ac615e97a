import {
  type BackendState,
  type BackendStatus,
  type NodeVipStatus,
  type VipStatus,
} from '../../networking/node/vip-status.ts'

/** Counters of several nodes, or readings, together. Rates are a second's; absent without two readings. */
export interface Traffic {
  readonly active: number
  readonly inactive: number
  readonly total: number
  readonly packets: number
  readonly bytes: number
  readonly connectionsPerSecond?: number
  readonly packetsPerSecond?: number
  readonly bytesPerSecond?: number
}

/** A backend over all nodes. */
export interface BackendSum extends Traffic {
  readonly address: string
  readonly port: number
  readonly task?: string
  readonly node?: string
  /** What most of the nodes that tell of it say. */
  readonly state: BackendState
  readonly weight: number
  /** Nodes that give it nothing new though others do, and why. */
  readonly bypassedBy: readonly { readonly node: string; readonly reason: string }[]
  /** When a draining one's task ends at the latest, in milliseconds since the epoch. */
  readonly endsByMs?: number
  readonly nodes: Readonly<Record<string, Traffic & Pick<BackendStatus, 'state' | 'weight' | 'reason'>>>
}

/** A VIP over all nodes. */
export interface VipSum extends Omit<VipStatus, 'backends'>, Traffic {
  readonly backends: readonly BackendSum[]
}

/** What the sums are made of. */
export interface SumInput {
  readonly now: readonly NodeVipStatus[]
  /** The reading before: rates come of both. */
  readonly before?: readonly NodeVipStatus[]
  /** By task: when it ends at the latest. */
  readonly endsByMs?: ReadonlyMap<string, number>
}

interface Part {
  readonly node: string
  readonly vip: VipStatus
  readonly backend: BackendStatus
  readonly traffic: Traffic
}

/** Adds up what the nodes tell of each VIP and backend. */
export function sumVips({ now, before = [], endsByMs = new Map() }: SumInput): readonly VipSum[] {
  const vips = new Map<string, { readonly vip: VipStatus; readonly backends: Map<string, Part[]> }>()
  const earlier = new Map(before.map((status) => [status.node as string, earlierOf(status)]))
  for (const status of now) {
    for (const vip of status.vips) {
      const group = vips.get(keyOf(vip)) ?? { vip, backends: new Map<string, Part[]>() }
      vips.set(keyOf(vip), group)
      for (const backend of vip.backends) {
        const last = earlier.get(status.node)
        const seconds = last === undefined ? 0 : (status.atMs - last.atMs) / 1000
        const traffic = trafficOf(backend, seconds, last?.backends.get(`${keyOf(vip)} ${endOf(backend)}`))
        const parts = group.backends.get(endOf(backend)) ?? []
        group.backends.set(endOf(backend), [...parts, { node: status.node, vip, backend, traffic }])
      }
    }
  }
  return [...vips.values()].map(({ vip, backends }) => {
    const sums = [...backends.values()].map((parts) => sumBackend(parts, endsByMs))
    return { ...vip, ...sumTraffic(sums), backends: sums }
  })
}

function keyOf({ protocol, address, port }: VipStatus): string {
  return `${protocol} ${address} ${port}`
}

function endOf({ address, port }: Pick<BackendStatus, 'address' | 'port'>): string {
  return `${address} ${port}`
}

function earlierOf({ atMs, vips }: NodeVipStatus) {
  const all = vips.flatMap((vip) => vip.backends.map((one) => [`${keyOf(vip)} ${endOf(one)}`, one] as const))
  return { atMs, backends: new Map(all) }
}

/** A counter that begins anew (the daemon restarted, the backend came back) makes no rate under 0. */
function trafficOf(now: BackendStatus, seconds: number, before: BackendStatus | undefined): Traffic {
  const { active, inactive, total, packets = 0, bytes = 0 } = now
  const sums = { active, inactive, total, packets, bytes }
  if (seconds <= 0) return sums
  const rate = (value: number, earlier: number) => Math.max(0, value - earlier) / seconds
  return {
    ...sums,
    connectionsPerSecond: rate(total, before?.total ?? 0),
    packetsPerSecond: rate(packets, before?.packets ?? 0),
    bytesPerSecond: rate(bytes, before?.bytes ?? 0),
  }
}

function sumBackend(parts: readonly Part[], endsByMs: ReadonlyMap<string, number>): BackendSum {
  const states = parts.map(({ backend }) => backend)
  const usual = states.find(({ state }) => state !== 'bypassed') ?? states[0]
  const bypassedBy = parts.flatMap(({ node, backend: { state, reason = '' } }) =>
    state === 'bypassed' ? [{ node, reason }] : [],
  )
  const { address = '', port = 0, task, node, state = 'serving', weight = 0 } = usual ?? {}
  const ends = task === undefined || state !== 'draining' ? undefined : endsByMs.get(task)
  const nodes = parts.map(({ node: at, backend, traffic }) => {
    const { reason } = backend
    const why = reason === undefined ? {} : { reason }
    return [at, { state: backend.state, weight: backend.weight, ...why, ...traffic }] as const
  })
  return {
    ...{ address, port, state, weight, bypassedBy },
    ...(task === undefined ? {} : { task }),
    ...(node === undefined ? {} : { node }),
    ...(ends === undefined ? {} : { endsByMs: ends }),
    ...sumTraffic(parts.map(({ traffic }) => traffic)),
    nodes: Object.fromEntries(nodes),
  }
}

const nothing: Traffic = { active: 0, inactive: 0, total: 0, packets: 0, bytes: 0 }
const rates = ['connectionsPerSecond', 'packetsPerSecond', 'bytesPerSecond'] as const

function sumTraffic(all: readonly Traffic[]): Traffic {
  return all.reduce((sum, one) => {
    const added = rates.flatMap((rate) => {
      const [a, b] = [sum[rate], one[rate]]
      return a === undefined && b === undefined ? [] : [[rate, (a ?? 0) + (b ?? 0)] as const]
    })
    return {
      active: sum.active + one.active,
      inactive: sum.inactive + one.inactive,
      total: sum.total + one.total,
      packets: sum.packets + one.packets,
      bytes: sum.bytes + one.bytes,
      ...Object.fromEntries(added),
    }
  }, nothing)
}
