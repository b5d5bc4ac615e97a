import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type Mac } from '../../core/model/ids.ts'

/**
 * rtnetlink operations as data: what a plan returns, what {@link RouteSocket} performs, and what prints as the command
 * an operator would type. Every `ensure`-like op (`*.replace`, `*.add`) treats "exists" as done only where said so.
 */
export type RouteOp =
  | { readonly kind: 'link.add'; readonly link: LinkSpec }
  | { readonly kind: 'link.set'; readonly name: string; readonly change: LinkChange }
  | { readonly kind: 'link.del'; readonly name: string }
  | { readonly kind: 'address.replace'; readonly address: AddressSpec }
  | { readonly kind: 'address.del'; readonly address: AddressSpec }
  | { readonly kind: 'neighbour.replace'; readonly neighbour: NeighbourSpec }
  | { readonly kind: 'neighbour.del'; readonly neighbour: NeighbourSpec }
  | { readonly kind: 'fdb.replace'; readonly fdb: FdbSpec }
  | { readonly kind: 'fdb.del'; readonly fdb: FdbSpec }
  | { readonly kind: 'nexthop.replace'; readonly nexthop: NexthopSpec }
  | { readonly kind: 'nexthop.del'; readonly id: number }
  | { readonly kind: 'route.replace'; readonly route: RouteSpec }
  | { readonly kind: 'route.del'; readonly route: RouteSpec }

/** A link to make. The kernel needs devices named by index; the socket resolves names to indexes. */
export type LinkSpec =
  | {
      readonly type: 'veth'
      readonly name: string
      readonly mtuBytes?: number
      readonly mac?: Mac
      /** The peer is made directly in its namespace: `netnsFd` is an open descriptor of it; absent: this namespace. */
      readonly peer: {
        readonly name: string
        readonly netnsFd?: number
        readonly mac?: Mac
        readonly mtuBytes?: number
      }
    }
  | {
      readonly type: 'vxlan'
      readonly name: string
      readonly vni: number
      readonly local: Ip
      /** Underlay device: none when absent. */
      readonly device?: string
      readonly udpPort: number
      readonly learning: boolean
      readonly mtuBytes?: number
      readonly mac?: Mac
    }
  | { readonly type: 'bridge'; readonly name: string; readonly mtuBytes?: number; readonly mac?: Mac }
  | { readonly type: 'ifb'; readonly name: string; readonly mtuBytes?: number; readonly mac?: Mac }
  | { readonly type: 'dummy'; readonly name: string; readonly mtuBytes?: number; readonly mac?: Mac }

/** What may change on a link that is there. */
export interface LinkChange {
  readonly state?: 'up' | 'down'
  readonly mtuBytes?: number
  readonly mac?: Mac
  readonly name?: string
  /** Index of the bridge to join; 0 leaves it. */
  readonly masterIndex?: number
  /** Devices of one group can be deleted with one request. */
  readonly group?: number
}

/** An address on a device. IPv6 addresses are made with nodad: detection would delay them by seconds. */
export interface AddressSpec {
  readonly device: string
  readonly address: Ip
  readonly prefixLength: number
  readonly scope?: 'global' | 'link' | 'host'
}

/** A permanent neighbour entry (ARP or ND). */
export interface NeighbourSpec {
  readonly device: string
  readonly address: Ip
  readonly mac: Mac
}

/** A permanent forwarding entry of a VXLAN device: frames to `mac` go to the VTEP at `destination`. */
export interface FdbSpec {
  readonly device: string
  readonly mac: Mac
  readonly destination: Ip
}

/** A nexthop object: many routes may share it. */
export interface NexthopSpec {
  readonly id: number
  readonly device: string
  /** Absent: directly connected, `family` then tells which. */
  readonly gateway?: Ip
  readonly family: 4 | 6
  /** The gateway is reachable on the device even when no address there says so. */
  readonly onlink?: boolean
  readonly protocol: number
}

/** A route. `unicast` needs a device or a nexthop object. */
export interface RouteSpec {
  readonly destination: Cidr
  readonly type: 'unicast' | 'local' | 'unreachable' | 'blackhole'
  readonly protocol: number
  readonly device?: string
  readonly gateway?: Ip
  readonly onlink?: boolean
  readonly nexthopId?: number
  readonly preferredSource?: Ip
  readonly scope?: 'global' | 'link' | 'host'
  /** 254 main, 255 local; absent: local for `local` routes, else main. */
  readonly table?: number
  readonly metric?: number
  readonly mtuBytes?: number
}

/** A link as the kernel tells it. */
export interface Link {
  readonly index: number
  readonly name: string
  /** `veth`, `vxlan`, … ; empty for hardware and loopback. */
  readonly type: string
  readonly up: boolean
  readonly mtuBytes: number
  readonly mac: Mac
  readonly masterIndex: number
  readonly group: number
  readonly vxlan?: {
    readonly vni: number
    readonly local?: Ip
    readonly udpPort: number
    readonly learning: boolean
    readonly deviceIndex: number
  }
}

/** An address as the kernel tells it. */
export interface Address extends AddressSpec {
  readonly index: number
}

/** A neighbour or forwarding entry as the kernel tells it. */
export interface Neighbour {
  readonly index: number
  readonly device: string
  readonly address?: Ip
  readonly mac?: Mac
  /** Remote VTEP of a forwarding entry. */
  readonly destination?: Ip
  readonly permanent: boolean
  readonly bridge: boolean
}

/** A nexthop object as the kernel tells it. */
export interface Nexthop extends NexthopSpec {
  readonly index: number
}

/** A route as the kernel tells it; `protocol` says who made it. */
export interface Route extends RouteSpec {
  readonly table: number
}

/** What became of an op of a batch. */
export type OpOutcome = { readonly ok: true } | { readonly ok: false; readonly error: Error }

/** A socket of the route family, bound to the namespace it was opened in. */
export interface RouteSocket {
  /** Performs the ops in order, in few system calls; one outcome each. A failed op does not stop the next ones. */
  perform(ops: readonly RouteOp[]): Promise<readonly OpOutcome[]>
  links(): Promise<readonly Link[]>
  /** @returns undefined when there is no such link */
  link(name: string): Promise<Link | undefined>
  addresses(): Promise<readonly Address[]>
  /** `ip` neighbours of both families. */
  neighbours(): Promise<readonly Neighbour[]>
  /** Forwarding entries (`bridge fdb`). */
  fdb(): Promise<readonly Neighbour[]>
  /** `protocol` filters. */
  nexthops(): Promise<readonly Nexthop[]>
  routes(filter?: { readonly protocol?: number; readonly table?: number }): Promise<readonly Route[]>
  close(): void
}
