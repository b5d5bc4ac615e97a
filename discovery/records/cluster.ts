import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { type EntityDelta, type RunningTask } from '../../core/model/snapshot.ts'

/**
 * A task, as far as its names depend on it. The snapshot's tasks are such; so are those of a Mesos master, whose ids obey
 * no rule of ours.
 */
export interface NamedTask
  extends Pick<
    RunningTask,
    'name' | 'framework' | 'state' | 'health' | 'networks' | 'portMappings' | 'ports' | 'discovery'
  > {
  readonly id: string
  /** Key of its node in {@link NamedCluster.nodes}. */
  readonly node: string
  readonly agentId: string
  /** What labels of its status tell of addresses. Source: reference/mesos-dns.md, IPSources. */
  readonly labelled?: { readonly docker: readonly Ip[]; readonly mesos: readonly Ip[] }
}

/** A machine. */
export interface NamedNode {
  readonly name: string
  readonly underlay: Ip
  readonly agentId?: string
  readonly master?: 'leader' | 'standby'
  /** Where its agent or master listens, when that is known. */
  readonly ports?: { readonly agent?: number; readonly master?: number }
}

/** Where a framework runs. */
export interface NamedFramework {
  readonly name: string
  readonly addresses: readonly Ip[]
  /** Of its driver; frameworks that speak HTTP have none. */
  readonly port?: number
}

/** What names are made of: structurally, every cluster snapshot is one. */
export interface NamedCluster {
  readonly version: number
  readonly networks: ReadonlyMap<string, { readonly subnets: readonly Cidr[] }>
  readonly nodes: ReadonlyMap<string, NamedNode>
  readonly tasks: ReadonlyMap<string, NamedTask>
  readonly vips: ReadonlyMap<string, NamedVip>
  /** Absent or empty: nothing is known of them, and the built-in one runs on the leading master. */
  readonly frameworks?: ReadonlyMap<string, NamedFramework>
}

/** An address of a named VIP. */
export interface NamedVip {
  readonly name: string
  readonly framework: string
  readonly addresses: readonly Ip[]
}

/** From a cluster to the next: structurally the node pipeline's change. */
export interface RecordChange {
  readonly previous: NamedCluster
  readonly next: NamedCluster
  readonly delta: {
    readonly networks: EntityDelta<string, unknown>
    readonly nodes: EntityDelta<string, unknown>
    readonly tasks: EntityDelta<string, unknown>
    readonly vips: EntityDelta<string, unknown>
    readonly frameworks?: EntityDelta<string, unknown>
  }
}

/** Before anything is known. */
export const emptyCluster: NamedCluster = {
  version: 0,
  networks: new Map(),
  nodes: new Map(),
  tasks: new Map(),
  vips: new Map(),
}

/** The leading master's node. */
export function leaderOf({ nodes }: NamedCluster): NamedNode | undefined {
  for (const node of nodes.values()) if (node.master === 'leader') return node
  return undefined
}
