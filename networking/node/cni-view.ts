import { type CniDns } from '../../cni-plugins/cni/result.ts'
import { type LeaseKey } from '../ipam/lease.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type NetworkName } from '../../core/model/ids.ts'

/** This node's part of a network, as far as containers need it. */
export interface NetworkView {
  /** Of this node; empty until the master gave it some. */
  readonly subnets: readonly Cidr[]
  /** Of the whole network. */
  readonly wholeSubnets: readonly Cidr[]
  /** Of containers' interfaces: the underlay's less what VXLAN adds. */
  readonly mtuBytes: number
}

/** What the node knows now. */
export interface CniView {
  readonly networks: ReadonlyMap<NetworkName, NetworkView>
  /** What containers' resolvers should use. */
  readonly dns: CniDns
}

/** A host port that should lead to a container: capability `portMappings`. */
export interface CniPortMapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: string
  readonly hostIp?: string
}

/** Makes host ports lead to containers. Nothing implements it yet (issue 3); without it, mappings have no effect. */
export interface PortMapper {
  add(key: LeaseKey, addresses: readonly Ip[], mappings: readonly CniPortMapping[]): Promise<void>
  /** Idempotent; called before the address is released. */
  remove(key: LeaseKey): Promise<void>
}
