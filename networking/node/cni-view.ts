import { type CniDns } from '../../cni-plugins/cni/result.ts'
import { type Bandwidth, type LeaseKey, type LeasePortMapping } from '../ipam/lease.ts'
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

/** Makes host ports lead to containers. Without it, mappings have no effect. */
export interface PortMapper {
  add(key: LeaseKey, addresses: readonly Ip[], mappings: readonly LeasePortMapping[]): Promise<void>
  /** Idempotent; called before the address is released. */
  remove(key: LeaseKey): Promise<void>
}

/** Limits what passes a container's interface. Without it, limits have no effect. */
export interface Shaper {
  /** `hostLink` is the node's end, up. Idempotent: replaces what was there. */
  apply(hostLink: string, bandwidth: Bandwidth): Promise<void>
  /** Idempotent; called before the link goes. */
  remove(hostLink: string): Promise<void>
}
