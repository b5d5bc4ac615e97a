import { leaderOf, type NamedCluster, type NamedNode, type NamedTask, type RecordChange } from './cluster.ts'
import { type NamesConfig } from './config.ts'
import {
  frameworkContributions,
  masterContributions,
  networkContributions,
  nodeContributions,
  staticContributions,
  vipContributions,
} from './generate.ts'
import { taskContributions } from './generate-task.ts'
import { type Contribution, contributionKey } from './owned.ts'

/** What records depend on besides the snapshot. */
export interface RecordOptions {
  readonly self: string
  readonly config: NamesConfig
  /** First 5 characters of zbase32(sha1(task id)). */
  readonly hash: (taskId: string) => string
}

/** Identity of what contributes: `task KEY`, `node NAME`, `network NAME`, `vip KEY`, `framework NAME`, `masters`, `static`. */
export type EntityKey = string

/** What each entity should contribute, by contribution key; empty: nothing any more. */
export type Wanted = ReadonlyMap<EntityKey, ReadonlyMap<string, Contribution>>

/** Of all entities that the change may concern. A node's or leader's address is part of its tasks' records. */
export function wantedOfChange(change: RecordChange, options: RecordOptions): Wanted {
  const { previous, next, delta } = change
  const wanted = new Map<EntityKey, ReadonlyMap<string, Contribution>>()
  wanted.set('static', byKey(staticContributions(options)))
  const want = (key: EntityKey, list: readonly Contribution[]) => wanted.set(key, byKey(list))
  const generate = generator(next, options)
  for (const name of keysOf(delta.networks)) want(`network ${name}`, generate.network(name))
  for (const name of keysOf(delta.nodes)) want(`node ${name}`, generate.node(name))
  for (const key of keysOf(delta.vips)) want(`vip ${key}`, generate.vip(key))
  for (const key of delta.frameworks === undefined ? [] : keysOf(delta.frameworks)) {
    want(`framework ${key}`, generate.framework(key))
  }
  if (keysOf(delta.nodes).some((name) => mastersDiffer(previous.nodes.get(name), next.nodes.get(name)))) {
    want('masters', masterContributions(next.nodes.values(), options))
  }
  for (const id of [...keysOf(delta.tasks), ...movedTasks(change)]) want(`task ${id}`, generate.task(id))
  return wanted
}

/** Of the whole snapshot. */
export function wantedOfAll(snapshot: NamedCluster, options: RecordOptions): Wanted {
  const wanted = new Map<EntityKey, ReadonlyMap<string, Contribution>>()
  const generate = generator(snapshot, options)
  wanted.set('static', byKey(staticContributions(options)))
  wanted.set('masters', byKey(masterContributions(snapshot.nodes.values(), options)))
  for (const name of snapshot.networks.keys()) wanted.set(`network ${name}`, byKey(generate.network(name)))
  for (const name of snapshot.nodes.keys()) wanted.set(`node ${name}`, byKey(generate.node(name)))
  for (const key of snapshot.vips.keys()) wanted.set(`vip ${key}`, byKey(generate.vip(key)))
  for (const key of snapshot.frameworks?.keys() ?? []) wanted.set(`framework ${key}`, byKey(generate.framework(key)))
  for (const id of snapshot.tasks.keys()) wanted.set(`task ${id}`, byKey(generate.task(id)))
  return wanted
}

/** Contributions of single entities of a snapshot; none for those that it lacks. */
function generator(snapshot: NamedCluster, options: RecordOptions) {
  const { config, hash } = options
  // Where frameworks are known, each has records of its own.
  const leaderAddress = knowsFrameworks(snapshot) ? undefined : leaderOf(snapshot)?.underlay
  const none: readonly Contribution[] = []
  return {
    network: (name: string) =>
      ofPresent(snapshot.networks.get(name), (one) => networkContributions(one, options)) ?? none,
    node: (name: string) => ofPresent(snapshot.nodes.get(name), (node) => nodeContributions(node, options)) ?? none,
    vip: (key: string) => ofPresent(snapshot.vips.get(key), (vip) => vipContributions(vip, options)) ?? none,
    framework: (key: string) =>
      ofPresent(snapshot.frameworks?.get(key), (one) => frameworkContributions(one, config)) ?? none,
    task: (id: string) => {
      const context = (task: NamedTask) => ({
        config,
        hash,
        leaderAddress,
        agentAddress: snapshot.nodes.get(task.node)?.underlay,
      })
      return ofPresent(snapshot.tasks.get(id), (task) => taskContributions(task, context(task))) ?? none
    },
  }
}

function ofPresent<In, Out>(value: In | undefined, make: (value: In) => Out): Out | undefined {
  return value === undefined ? undefined : make(value)
}

function keysOf<Key>(delta: { readonly upserts: ReadonlyMap<Key, unknown>; readonly removals: ReadonlySet<Key> }) {
  return [...delta.upserts.keys(), ...delta.removals]
}

function mastersDiffer(before: NamedNode | undefined, after: NamedNode | undefined): boolean {
  if (before?.master !== after?.master) return true
  if (after?.master === undefined) return false
  return before?.underlay !== after.underlay || before.ports?.master !== after.ports?.master
}

/** Masters of before 0.3 tell none. */
function knowsFrameworks({ frameworks }: NamedCluster): boolean {
  return frameworks !== undefined && frameworks.size > 0
}

/** Tasks whose node came, went or changed its address; all that have their framework's records when these move. */
function movedTasks({ previous, next, delta }: RecordChange): readonly string[] {
  const moved = new Set(
    keysOf(delta.nodes).filter((name) => previous.nodes.get(name)?.underlay !== next.nodes.get(name)?.underlay),
  )
  const host = (cluster: NamedCluster) => (knowsFrameworks(cluster) ? undefined : leaderOf(cluster)?.underlay)
  const allMoved = host(previous) !== host(next)
  if (moved.size === 0 && !allMoved) return []
  return [...next.tasks].filter(([, { node }]) => allMoved || moved.has(node)).map(([key]) => key)
}

function byKey(list: readonly Contribution[]): ReadonlyMap<string, Contribution> {
  return new Map(list.map((contribution) => [contributionKey(contribution), contribution]))
}
