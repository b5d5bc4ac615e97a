import { type Name, nameKey, type NameKey } from '../dns/name.ts'
import { type Rdata, rdataCode } from '../dns/rdata.ts'
import { type NamedCluster, type RecordChange } from './cluster.ts'
import { type CountedRecords, countedRecords } from './counted.ts'
import { type Contribution, contributionKey } from './owned.ts'
import { type EntityKey, type RecordOptions, type Wanted, wantedOfAll, wantedOfChange } from './wanted.ts'
import { type OwnerChange, type RrSet, type ZoneChange } from './zone-change.ts'

/** A change in two halves. Each works from what the index holds when it runs, so either may fail, repeat or be left out. */
export interface RecordSteps {
  /** New records appear; nothing goes. */
  add(): ZoneChange
  /** Records that the next snapshot lacks go; nothing appears. */
  remove(): ZoneChange
}

/** The records of the cluster by what they come from, so that a change touches only its own names. */
export interface RecordIndex {
  apply(change: RecordChange): RecordSteps
  /** The whole: compares every entity of the snapshot, and what is held for entities that are no more. */
  reconcile(snapshot: NamedCluster): RecordSteps
  /** What an entity contributes now. */
  contributionsOf(entity: EntityKey): Iterable<Contribution>
  /** Who contributes to a name. Walks all: for people who ask why. */
  contributors(owner: Name): readonly EntityKey[]
  /** What a name has now; `undefined`: nothing. */
  rrsets(key: NameKey): readonly RrSet[] | undefined
}

/** What the index holds of one owner name. */
interface OwnerEntry {
  readonly owner: Name
  readonly records: CountedRecords
}

interface State {
  /** Lists: their keys are made anew when an entity changes, for they would take more than all the rest. */
  readonly entities: Map<EntityKey, readonly Contribution[]>
  readonly owners: Map<NameKey, OwnerEntry>
  readonly apexes: Map<NameKey, { readonly owner: Name; count: number }>
}

/** An empty index. */
export function openRecordIndex(options: RecordOptions): RecordIndex {
  const state: State = { entities: new Map(), owners: new Map(), apexes: new Map() }
  const steps = (wanted: Wanted, version: number): RecordSteps => ({
    add: () => change(state, { wanted, version, ttlSeconds: options.config.ttlSeconds, pass: addPass }),
    remove: () => change(state, { wanted, version, ttlSeconds: options.config.ttlSeconds, pass: removePass }),
  })
  return {
    apply: (change) => steps(wantedOfChange(change, options), change.next.version),
    reconcile: (snapshot) => {
      const wanted = new Map(wantedOfAll(snapshot, options))
      for (const key of state.entities.keys()) if (!wanted.has(key)) wanted.set(key, new Map())
      return steps(wanted, snapshot.version)
    },
    contributionsOf: (entity) => state.entities.get(entity) ?? [],
    contributors: (owner) => {
      const key = nameKey(owner)
      return [...state.entities]
        .filter(([, held]) => held.some((contribution) => nameKey(contribution.owner) === key))
        .map(([entity]) => entity)
    },
    rrsets: (key) => {
      const entry = state.owners.get(key)
      return entry === undefined ? undefined : rrsetsOf(entry, options.config.ttlSeconds)
    },
  }
}

/** Names and zones that a pass touched. */
interface Touched {
  readonly owners: Map<NameKey, Name>
  readonly added: Name[]
  readonly removed: Name[]
}

type Pass = (state: State, wanted: Wanted, touched: Touched) => void

function change(
  state: State,
  plan: { readonly wanted: Wanted; readonly version: number; readonly ttlSeconds: number; readonly pass: Pass },
): ZoneChange {
  const touched: Touched = { owners: new Map(), added: [], removed: [] }
  plan.pass(state, plan.wanted, touched)
  const owners = [...touched.owners].map(
    ([key, owner]): OwnerChange => ({ owner, rrsets: rrsetsOf(state.owners.get(key), plan.ttlSeconds) }),
  )
  return { version: plan.version, owners, apexes: { added: touched.added, removed: touched.removed } }
}

const addPass: Pass = (state, wanted, touched) => {
  for (const [entity, contributions] of wanted) {
    const held = state.entities.get(entity) ?? []
    const known = new Set(held.map(contributionKey))
    const fresh: Contribution[] = []
    for (const [key, contribution] of contributions) {
      if (known.has(key)) continue
      fresh.push(contribution)
      increase(state, contribution, touched)
    }
    if (fresh.length > 0) state.entities.set(entity, [...held, ...fresh])
  }
}

const removePass: Pass = (state, wanted, touched) => {
  for (const [entity, contributions] of wanted) {
    const held = state.entities.get(entity) ?? []
    const kept: Contribution[] = []
    for (const contribution of held) {
      if (contributions.has(contributionKey(contribution))) kept.push(contribution)
      else decrease(state, contribution, touched)
    }
    if (kept.length === 0) state.entities.delete(entity)
    else if (kept.length < held.length) state.entities.set(entity, kept)
  }
}

function increase(state: State, contribution: Contribution, touched: Touched): void {
  const { owner } = contribution
  const ownerKey = nameKey(owner)
  if (contribution.kind === 'apex') {
    const apex = state.apexes.get(ownerKey)
    if (apex !== undefined) apex.count++
    else {
      state.apexes.set(ownerKey, { owner, count: 1 })
      touched.added.push(owner)
    }
    return
  }
  const entry = state.owners.get(ownerKey) ?? { owner, records: countedRecords() }
  state.owners.set(ownerKey, entry)
  if (entry.records.add(contribution.data)) touched.owners.set(ownerKey, entry.owner)
}

function decrease(state: State, contribution: Contribution, touched: Touched): void {
  const ownerKey = nameKey(contribution.owner)
  if (contribution.kind === 'apex') {
    const apex = state.apexes.get(ownerKey)
    if (apex === undefined || --apex.count > 0) return
    state.apexes.delete(ownerKey)
    touched.removed.push(apex.owner)
    return
  }
  const entry = state.owners.get(ownerKey)
  if (entry === undefined || !entry.records.remove(contribution.data)) return
  if (entry.records.size === 0) state.owners.delete(ownerKey)
  touched.owners.set(ownerKey, entry.owner)
}

function rrsetsOf(entry: OwnerEntry | undefined, ttlSeconds: number): readonly RrSet[] {
  const byCode = new Map<number, Rdata[]>()
  for (const data of entry?.records.values() ?? []) {
    const list = byCode.get(rdataCode(data))
    if (list === undefined) byCode.set(rdataCode(data), [data])
    else list.push(data)
  }
  return [...byCode].map(([code, data]) => ({ code, ttlSeconds, data }))
}
