import { type Cidr } from '../base/ip.ts'
import { type NetworkName } from './ids.ts'

/** How full one of a node's subnets is, as its node daemon counts its leases. */
export interface SubnetUsage {
  readonly network: NetworkName
  readonly subnet: Cidr
  readonly used: number
  /** Released not long ago: given again only when nothing else is left. */
  readonly resting: number
  /** Addresses that a container could get now, resting ones included; at most 2^53 - 1. */
  readonly free: number
}

/** Containers that a node still has room for in each network: the least of the network's subnets there. */
export function freeByNetwork(usages: Iterable<SubnetUsage>): ReadonlyMap<NetworkName, number> {
  const free = new Map<NetworkName, number>()
  for (const usage of usages) free.set(usage.network, Math.min(usage.free, free.get(usage.network) ?? usage.free))
  return free
}
