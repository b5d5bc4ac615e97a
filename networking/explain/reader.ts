import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type VirtualServer } from '../../lb/dataplane.ts'
import { type RouteAnswer, type RouteQuery } from '../netlink/lookup.ts'
import { type Link, type Neighbour } from '../netlink/ops.ts'
import { type NftTable } from '../nft/table.ts'

/** A link, and whether something is at its other end. */
export interface SightedLink extends Link {
  readonly carrier: boolean
}

/** A node's kernel at one moment. */
export interface NodeState {
  readonly links: ReadonlyMap<string, SightedLink>
  readonly neighbours: readonly Neighbour[]
  readonly fdb: readonly Neighbour[]
  /** Weft's nftables table; undefined: there is none. */
  readonly table: NftTable | undefined
  /** What the node's load balancer has programmed. */
  readonly servers: readonly VirtualServer[]
}

/**
 * What explaining needs of one node. On a local cluster it looks into the host's namespace (local-reader.ts); a node
 * daemon can answer the same from afar.
 */
export interface NodeReader {
  readonly node: NodeName
  /** Reads once; later calls give the same. */
  state(options: { readonly signal: AbortSignal }): Promise<NodeState>
  /** A device that is not there counts as refused, with code `ENODEV`. */
  lookup(query: RouteQuery): Promise<RouteAnswer>
  /** Asks the node's own name server. @throws ERR_DNS_* when it does not answer */
  resolve(name: string, type: 'A' | 'AAAA', options: { readonly signal: AbortSignal }): Promise<readonly Ip[]>
  close(): void
}

/** A reader of any node of the cluster. @throws ERR_EXPLAIN_NODE when that node can't be looked into */
export type OpenReader = (node: NodeName) => Promise<NodeReader>
