import { type Ip } from '../../core/base/ip.ts'
import { type NodeName, type TaskId } from '../../core/model/ids.ts'
import { type ClusterSnapshot, isServing, type RunningTask } from '../../core/model/snapshot.ts'
import { defaultVipScheduler, type VipScheduler } from '../../core/model/vip.ts'
import { backendKey, type CounterReader, type VipCounters } from '../../lb/counters.ts'
import { type DataPlane, type RealServer, type VirtualServer } from '../../lb/dataplane.ts'
import { type BypassedServer } from '../../lb/health/bypass.ts'
import { type PeerReport } from '../../lb/health/watch-peers.ts'
import { taskBackends } from '../../lb/vip/desired.ts'

/** Why a backend gets nothing new; absent: it gets its share. */
export type BackendState = 'serving' | 'draining' | 'unhealthy' | 'pending' | 'bypassed'

/** A backend of a VIP on this node. */
export interface BackendStatus {
  readonly address: Ip
  readonly port: number
  /** As it is programmed here. */
  readonly weight: number
  readonly state: BackendState
  /** For a person; absent while it serves. */
  readonly reason?: string
  readonly task?: TaskId
  readonly node?: NodeName
  readonly active: number
  readonly inactive: number
  readonly total: number
  readonly packets?: number
  readonly bytes?: number
}

/** A VIP on this node. */
export interface VipStatus {
  /** `name.framework`; absent: an address VIP. */
  readonly name?: string
  readonly protocol: VirtualServer['protocol']
  readonly address: Ip
  readonly port: number
  readonly scheduler: VipScheduler
  readonly backends: readonly BackendStatus[]
}

/** What `/weft/v1/vips` of a node tells. */
export interface NodeVipStatus {
  readonly node: NodeName
  readonly version: number
  readonly dataPlane: DataPlane['name']
  /** {@link CounterReader.counts} */
  readonly counts: CounterReader['counts']
  /** When the counters were read, in milliseconds since the epoch: two readings make a rate. */
  readonly atMs: number
  readonly vips: readonly VipStatus[]
  readonly peers: readonly PeerReport[]
  /** Others' IPVS services, as the last audit found them. */
  readonly foreign: readonly string[]
}

/** What the status is made of. */
export interface VipStatusInput {
  readonly self: NodeName
  readonly snapshot: ClusterSnapshot
  readonly servers: readonly BypassedServer[]
  readonly counters: VipCounters
  readonly placeOf: (address: Ip) => NodeName | undefined
  readonly peers: readonly PeerReport[]
}

/** Every VIP with its backends, sorted by name, then address. */
export function vipStatus(input: VipStatusInput): readonly VipStatus[] {
  const { snapshot, servers } = input
  const names = new Map(
    [...snapshot.vips.values()].flatMap(({ name, framework, addresses }) =>
      addresses.map((address) => [address, `${name}.${framework}`] as const),
    ),
  )
  const tasks = tasksByBackend(input)
  return servers
    .map(({ wanted, effective }): VipStatus => {
      const { address, port, protocol, scheduler = defaultVipScheduler } = wanted
      const name = names.get(address)
      const backends = effective.backends.map((backend, i) =>
        backendStatus(input, { server: wanted, wanted: wanted.backends[i], backend, tasks }),
      )
      return { ...(name === undefined ? {} : { name }), protocol, address, port, scheduler, backends }
    })
    .toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1))
}

function sortKey({ name = '', address, port, protocol }: VipStatus): string {
  return [name, address, String(port).padStart(5, '0'), protocol].join(' ')
}

/** When several tasks are one backend, the one that serves is told. */
function tasksByBackend({ snapshot, self }: VipStatusInput): ReadonlyMap<string, RunningTask> {
  const tasks = new Map<string, RunningTask>()
  for (const task of snapshot.tasks.values()) {
    for (const { server, backend } of taskBackends(task, snapshot, self)) {
      const key = backendKey(server, backend)
      if (!tasks.has(key) || isServing(task)) tasks.set(key, task)
    }
  }
  return tasks
}

interface OneBackend {
  readonly server: VirtualServer
  readonly wanted: RealServer | undefined
  readonly backend: RealServer
  readonly tasks: ReadonlyMap<string, RunningTask>
}

function backendStatus(input: VipStatusInput, one: OneBackend): BackendStatus {
  const { address, port, weight } = one.backend
  const key = backendKey(one.server, one.backend)
  const task = one.tasks.get(key)
  const node = task?.node ?? input.placeOf(address)
  const isBypassed = weight === 0 && (one.wanted?.weight ?? 0) > 0
  const why = isBypassed ? bypassReason(input.peers, node) : taskReason(task, weight)
  return {
    ...{ address, port, weight },
    ...why,
    ...(task === undefined ? {} : { task: task.id }),
    ...(node === undefined ? {} : { node }),
    ...(input.counters.get(key) ?? { active: 0, inactive: 0, total: 0 }),
  }
}

function bypassReason(peers: readonly PeerReport[], node: NodeName | undefined) {
  const downMs = peers.find((peer) => peer.node === node)?.downMs
  const since = downMs === undefined ? '' : ` since ${(downMs / 1000).toFixed(1)} s`
  return { state: 'bypassed', reason: `node ${node ?? 'unknown'} does not answer this one${since}` } as const
}

function taskReason(task: RunningTask | undefined, weight: number): Pick<BackendStatus, 'state' | 'reason'> {
  if (weight > 0) return { state: 'serving' }
  if (task?.state === 'TASK_KILLING') return { state: 'draining', reason: 'the task is being ended' }
  if (task?.health === 'pending') return { state: 'pending', reason: 'no health check has passed yet' }
  return { state: 'unhealthy', reason: 'its health check fails' }
}
