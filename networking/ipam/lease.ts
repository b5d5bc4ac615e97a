import { type Ip } from '../../core/base/ip.ts'

/** What tells one attachment from another. Source: CNI SPEC.md: network name, container id, interface name. */
export interface LeaseKey {
  readonly network: string
  readonly container: string
  readonly ifname: string
}

/** A host port that leads to a container: capability `portMappings`. Source: CNI CONVENTIONS.md. */
export interface LeasePortMapping {
  /** Never 0. */
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  /** Absent: any address of the node. */
  readonly hostIp?: Ip
}

/** Limits of one interface: capability `bandwidth`. Rates in bits per second, bursts in bits. Absent: not limited. */
export interface Bandwidth {
  /** Towards the container. */
  readonly ingressBitsPerSecond?: number
  readonly ingressBurstBits?: number
  /** From the container. */
  readonly egressBitsPerSecond?: number
  readonly egressBurstBits?: number
}

/** Addresses given to one interface of one container, and what was made for it. */
export interface Lease extends LeaseKey {
  /** One for each of the node's subnets of the network. */
  readonly addresses: readonly Ip[]
  /** Of the interface in the container. */
  readonly mac: string
  /** Name of the veth's end on the node; empty when another plugin makes the interface, and only the address is ours. */
  readonly hostLink: string
  /** /proc/sys/kernel/random/boot_id when it was given: no container survives another boot. */
  readonly bootId: string
  /**
   * Absent: whole. `making`: ADD has not ended. `removing`: DEL has begun. What a start finds in either state is undone:
   * so a crash between two steps leaves nothing.
   */
  readonly state?: 'making' | 'removing'
  /** Durable, so that they are made again after a restart. */
  readonly portMappings?: readonly LeasePortMapping[]
  readonly bandwidth?: Bandwidth
  /** Names that the runtime wants the container to have on this network: capability `aliases`. */
  readonly aliases?: readonly string[]
  /** The addresses are of another IPAM plugin: the call that gives them back. */
  readonly delegate?: DelegatedCall
}

/** What another plugin was called with: its DEL needs the same. */
export interface DelegatedCall {
  /** Executable name: `host-local`. */
  readonly type: string
  readonly env: Readonly<Record<string, string>>
  readonly stdin: string
}

/** A line of the journal. */
export type LeaseEntry =
  | { readonly op: 'lease'; readonly lease: Lease }
  | { readonly op: 'free'; readonly key: LeaseKey }
  /** Released addresses, the oldest release first: what compaction keeps of `free` lines. */
  | { readonly op: 'rest'; readonly addresses: readonly Ip[] }

/** The key as one text. NUL is in none of its parts. */
export function leaseKeyText({ network, container, ifname }: LeaseKey): string {
  return `${network}\0${container}\0${ifname}`
}

/** Only the key's own properties. */
export function leaseKeyOf({ network, container, ifname }: LeaseKey): LeaseKey {
  return { network, container, ifname }
}
