import { type Store, type StoreWrite } from '../../store/store.ts'
import { indexNodes, type KeptNodeIndex } from '../networks/node-index.ts'
import { registryParsers } from './schema.ts'
import { type Decide, isEmptyChange, type RegistryChange, type RegistryState, type RegistryTables } from './state.ts'

/** The durable part of a master's knowledge, written before anything is done because of it. */
export interface Registrar {
  /** Includes changes that are being written; what the outside may see comes through {@link RegistrarOptions.onCommit}. */
  readonly state: RegistryState
  /**
   * Decides, writes, then tells `onCommit`: when it resolves, the change is durable and visible. Decisions made while a
   * write is under way share the next one.
   * @throws what `decide` throws, with nothing changed; ERR_STORE_FULL, ERR_STORE_TERM with all undone
   */
  apply(decide: Decide): Promise<RegistryChange>
}

/** What a registrar works with. */
export interface RegistrarOptions {
  readonly store: Store
  readonly term: number
  /** Called for each change in order, after it is durable. */
  readonly onCommit: (change: RegistryChange) => void
}

type MutableState = { readonly [Name in keyof RegistryTables]: Map<string, unknown> }
type Undo = () => void

interface Job {
  readonly decide: Decide
  readonly resolve: (change: RegistryChange) => void
  readonly reject: (error: unknown) => void
}

const tableNames = [
  ...(['agents', 'frameworks', 'networks', 'nodes', 'vips'] as const),
  ...(['policies', 'weights', 'quotas', 'gone'] as const),
] as const

/** Reads the registry. @throws ERR_MASTER_REGISTRY for a value that this version can't read */
export async function readRegistry(store: Store): Promise<RegistryState> {
  const table = async <Key, Value>(name: string, parse: (value: string) => Value, key: (value: Value) => Key) => {
    const values = [...(await store.list(`${name}/`)).values()].map(({ value }) => parse(value))
    return new Map(values.map((value) => [key(value), value]))
  }
  const { agents, frameworks, networks, nodes, vips, policies, weights, quotas, gone } = registryParsers
  return {
    agents: await table('agents', agents, ({ id }) => id),
    frameworks: await table('frameworks', frameworks, ({ id }) => id),
    networks: await table('networks', networks, ({ name }) => name),
    nodes: await table('nodes', nodes, ({ name }) => name),
    vips: await table('vips', vips, ({ name, framework }) => `${name}.${framework}`),
    policies: await table('policies', policies, ({ name }) => name),
    weights: await table('weights', weights, ({ role }) => role),
    quotas: await table('quotas', quotas, ({ role }) => role),
    gone: await table('gone', gone, ({ id }) => id),
  }
}

/** Opens a registrar on what {@link readRegistry} found; `initial` is not changed. */
export function openRegistrar(initial: RegistryState, options: RegistrarOptions): Registrar {
  const tables: MutableState = {
    agents: new Map(initial.agents),
    frameworks: new Map(initial.frameworks),
    networks: new Map(initial.networks),
    nodes: new Map(initial.nodes),
    vips: new Map(initial.vips),
    policies: new Map(initial.policies),
    weights: new Map(initial.weights),
    quotas: new Map(initial.quotas),
    gone: new Map(initial.gone),
  }
  const nodeIndex = indexNodes(initial.nodes.values())
  const maps = tables as unknown as RegistryTables // the same maps, through the eyes of readers
  const state: RegistryState = { ...maps, nodeIndex }
  let queue: Job[] = []
  let writing = false
  const writeQueue = async () => {
    writing = true
    while (queue.length > 0) {
      const jobs = queue
      queue = []
      await writeJobs(jobs, { tables, state, nodeIndex, options })
    }
    writing = false
  }
  const apply = (decide: Decide) =>
    new Promise<RegistryChange>((resolve, reject) => {
      queue.push({ decide, resolve, reject })
      if (!writing) void writeQueue()
    })
  return { state, apply }
}

interface Context {
  readonly tables: MutableState
  readonly state: RegistryState
  readonly nodeIndex: KeptNodeIndex
  readonly options: RegistrarOptions
}

/** Decides all of `jobs`, each on top of the one before, and writes them as one. */
async function writeJobs(jobs: readonly Job[], context: Context): Promise<void> {
  const { tables, state, options } = context
  const undo: Undo[] = []
  const writes = new Map<string, StoreWrite>()
  const decided: { readonly job: Job; readonly change: RegistryChange }[] = []
  for (const job of jobs) {
    try {
      const change = job.decide(state)
      undo.push(...followNodes(context, change), ...enter(tables, change, writes))
      decided.push({ job, change })
    } catch (error) {
      job.reject(error)
    }
  }
  try {
    if (writes.size > 0) await options.store.write([...writes.values()], { term: options.term })
  } catch (error) {
    for (const step of undo.toReversed()) step()
    for (const { job } of decided) job.reject(error)
    return
  }
  for (const { job, change } of decided) {
    if (!isEmptyChange(change)) options.onCommit(change)
    job.resolve(change)
  }
}

/** Enters a change into the tables and the batch; returns how to take it back. */
function enter(tables: MutableState, change: RegistryChange, writes: Map<string, StoreWrite>): readonly Undo[] {
  return tableNames.flatMap((name) => {
    const table = tables[name]
    return [...(change[name] ?? [])].map(([key, value]) => {
      const before = table.get(key)
      set(table, key, value)
      const path = `${name}/${key}`
      writes.set(path, { key: path, value: value === undefined ? undefined : JSON.stringify(value) })
      return () => set(table, key, before)
    })
  })
}

/** Before the tables change: the index needs what was there. */
function followNodes({ state, nodeIndex }: Context, { nodes }: RegistryChange): readonly Undo[] {
  return [...(nodes ?? [])].map(([name, after]) => {
    const before = state.nodes.get(name)
    nodeIndex.change(before, after)
    return () => nodeIndex.change(after, before)
  })
}

function set(table: Map<string, unknown>, key: string, value: unknown): void {
  if (value === undefined) table.delete(key)
  else table.set(key, value)
}
