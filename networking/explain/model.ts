import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type Protocol } from '../../core/model/task.ts'

/** What is looked at, in the order of a connection's way: the first finding that is wrong is the answer. */
export type ExplainArea = 'names' | 'vip' | 'policy' | 'isolation' | 'sender' | 'route' | 'overlay' | 'delivery'

/** One thing that was looked at on one node. */
export interface Finding {
  readonly area: ExplainArea
  readonly node: NodeName
  readonly holds: boolean
  /** What is there, or what is wrong and with which object. */
  readonly text: string
  /** The command that would put it right. */
  readonly fix?: string
}

/** Who sends or receives: an address, where it is, and whether it is in a container. */
export interface Endpoint {
  readonly address: Ip
  /** Absent: outside of the cluster. */
  readonly node?: NodeName
  /** `task web.1`, `host agent1`, `address 192.0.2.1`. */
  readonly name: string
  readonly kind: 'container' | 'host' | 'outside'
}

/** A name's records as the snapshot makes them, and as the node's server told them. */
export interface NameReport {
  readonly name: string
  readonly records: readonly { readonly address: Ip; readonly from: readonly string[] }[]
  readonly served: readonly Ip[]
}

/** A virtual address, with its backends as the node has them programmed. */
export interface VipReport {
  readonly address: Ip
  readonly port: number
  readonly protocol: Protocol
  readonly backends: readonly {
    readonly address: Ip
    readonly port: number
    readonly weight: number
    readonly task: string
  }[]
}

/** The way to one destination, there and back. */
export interface PathReport {
  readonly source: Endpoint
  readonly destination: Endpoint
  readonly port?: number
  readonly protocol: Protocol
  readonly verdict: 'accept' | 'drop'
  readonly rule: string
  readonly findings: readonly Finding[]
}

/** The whole answer. */
export interface Explanation {
  readonly version: number
  readonly from: string
  readonly to: string
  readonly name?: NameReport
  readonly vips: readonly VipReport[]
  /** Of names and VIPs; those of the paths are in the paths. */
  readonly findings: readonly Finding[]
  readonly paths: readonly PathReport[]
  /** The first thing that is wrong; absent: nothing is. */
  readonly problem?: Finding
}
