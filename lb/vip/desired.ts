import { hasCode } from '../../core/base/errors.ts'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, isServing, type RunningTask } from '../../core/model/snapshot.ts'
import { type DiscoveryPort, type Protocol } from '../../core/model/task.ts'
import { taskVips } from '../../core/model/task-vips.ts'
import {
  defaultVipScheduler,
  parseVipScheduler,
  parseVipWeight,
  vipKey,
  type VipScheduler,
  type VipSpec,
} from '../../core/model/vip.ts'
import { isReservedVip } from '../../core/model/vip-reserved.ts'
import { compareBackends, formatVirtualServerKey, type RealServer, type VirtualServer } from '../dataplane.ts'

/** A task's backend of one virtual server. */
export interface VipBackend {
  readonly server: Omit<VirtualServer, 'backends'>
  readonly backend: RealServer
}

/** Every virtual server that the snapshot asks for, as node `self` programs it, sorted by key. */
export function desiredServers(snapshot: ClusterSnapshot, self: NodeName): readonly VirtualServer[] {
  const groups = new Map<string, VipBackend[]>()
  for (const task of snapshot.tasks.values()) {
    for (const one of taskBackends(task, snapshot, self)) {
      const key = formatVirtualServerKey(one.server)
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [one])
      else group.push(one)
    }
  }
  const keys = [...groups.keys()].toSorted()
  return keys.map((key) => mergeBackends(groups.get(key) ?? [])).filter((server) => server !== undefined)
}

/**
 * One virtual server of the backends that tasks, perhaps of several frameworks, give it: sorted, each address and port
 * once, serving when any of its tasks serves. @returns undefined when there are none
 */
export function mergeBackends(group: Iterable<VipBackend>): VirtualServer | undefined {
  const backends = new Map<string, RealServer>()
  let server: VipBackend['server'] | undefined
  for (const one of group) {
    server = chosenServer(server, one.server)
    const key = `${one.backend.address} ${one.backend.port}`
    const other = backends.get(key)
    if (other === undefined || isPreferred(one.backend, other)) backends.set(key, one.backend)
  }
  return server && { ...server, backends: [...backends.values()].toSorted(compareBackends) }
}

/**
 * Two services that ask for different schedulers of one VIP are refused when they are posted; if it happens all the same
 * (frameworks that Weft does not check), every node takes the same one: the first by name that is not the default.
 */
function chosenServer(one: VipBackend['server'] | undefined, other: VipBackend['server']): VipBackend['server'] {
  if (one?.scheduler === undefined) return other
  return other.scheduler === undefined || one.scheduler <= other.scheduler ? one : other
}

/** Whatever the order of the tasks, the same one wins. */
function isPreferred(one: RealServer, other: RealServer): boolean {
  if (one.weight !== other.weight) return one.weight > other.weight
  return one.local === true && other.local === undefined
}

/**
 * What one task puts behind VIPs: for each of its VIPs, each protocol of the port, each address of the VIP. A named VIP that
 * has no address yet gives nothing, and so does a malformed label (the master refuses those) or an address that must not be
 * a VIP.
 */
export function taskBackends(task: RunningTask, snapshot: ClusterSnapshot, self: NodeName): readonly VipBackend[] {
  const found: VipBackend[] = []
  for (const { port, spec } of taskVips(task, 'pass-over')) {
    const scheduler = portScheduler(port)
    for (const address of vipAddresses(spec, task.framework, snapshot)) {
      for (const protocol of port.protocols) {
        const server = { address, port: spec.port, protocol, ...scheduler }
        const places = portPlaces(port, { task, snapshot, self, protocol })
        const ofFamily = places.filter((place) => ipFamily(place.address) === ipFamily(address))
        found.push(...ofFamily.map((backend) => ({ server, backend })))
      }
    }
  }
  return found
}

/** The services refuse a label that is wrong; one of another framework counts as absent. */
function orDefault<T>(parse: () => T, code: string, otherwise: T): T {
  try {
    return parse()
  } catch (error) {
    if (hasCode(error, code)) return otherwise
    throw error
  }
}

function portScheduler({ labels }: DiscoveryPort): { readonly scheduler?: VipScheduler } {
  const scheduler = orDefault(() => parseVipScheduler(labels), 'ERR_VIP_SCHEDULER', defaultVipScheduler)
  return scheduler === defaultVipScheduler ? {} : { scheduler }
}

function vipAddresses(spec: VipSpec, framework: string, snapshot: ClusterSnapshot): readonly Ip[] {
  if (spec.kind === 'named') return snapshot.vips.get(vipKey(spec.name, framework))?.addresses ?? []
  return isReservedVip(spec.address, snapshot) ? [] : [spec.address]
}

interface PortContext {
  readonly task: RunningTask
  readonly snapshot: ClusterSnapshot
  readonly self: NodeName
  readonly protocol: Protocol
}

/**
 * Where a port is reached: in the container's first network when it has one (a host port that a mapping leads to a
 * container port is reached there too: containers are reachable from every node), else on the node.
 */
function portPlaces({ number, labels }: DiscoveryPort, context: PortContext): readonly RealServer[] {
  const { task, snapshot, self, protocol } = context
  const weight = isServing(task) ? orDefault(() => parseVipWeight(labels), 'ERR_VIP_WEIGHT', 1) : 0
  const network = task.networks[0]
  const mapping = task.portMappings.find((one) => one.hostPort === number && one.protocol === protocol)
  const isHostPort = labels['network-scope'] === 'host'
  if (network !== undefined && network.name !== '' && (!isHostPort || mapping !== undefined)) {
    const port = isHostPort && mapping !== undefined ? mapping.containerPort : number
    const local = task.node === self && weight > 0 ? ({ local: true } as const) : {}
    return network.addresses.map((address) => ({ address, port, weight, ...local }))
  }
  const node = snapshot.nodes.get(task.node)
  return node === undefined ? [] : [{ address: node.underlay, port: number, weight }]
}
