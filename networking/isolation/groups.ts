import { AppError } from '../../core/base/errors.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { formatSelector, type Policy, type Selector } from '../../core/model/policy.ts'
import { type ClusterSnapshot, type RunningTask } from '../../core/model/snapshot.ts'
import { containerAddresses, selectsTask } from './judge.ts'
import { cutPieces, type TaggedPrefix } from './pieces.ts'

/** Addresses of which all policies speak alike have one number, 1 to 0xfffe. 0: no policy speaks of them but with `any`. */
export type GroupId = number

/** Every address's group. */
export interface Groups {
  /** Prefixes that share no address. */
  readonly prefixes: ReadonlyMap<Cidr, GroupId>
  /** Addresses of tasks that a label or task selector means: they go before prefixes. */
  readonly hosts: ReadonlyMap<Ip, GroupId>
  /** By selector's text: the groups that it means. Not for `any`. */
  readonly members: ReadonlyMap<string, readonly GroupId[]>
}

type TaskSelector = Extract<Selector, { readonly kind: 'label' | 'task' }>

/** Finds the groups. @throws ERR_ISOLATION_GROUPS when there are more than numbers */
export function findGroups({
  networks,
  tasks,
  policies,
}: Pick<ClusterSnapshot, 'networks' | 'tasks' | 'policies'>): Groups {
  const selectors = usedSelectors(policies.values())
  const tagged: TaggedPrefix[] = []
  for (const [tag, selector] of selectors) {
    if (selector.kind === 'cidr') tagged.push({ prefix: selector.cidr, tag })
    if (selector.kind !== 'network') continue
    for (const prefix of networks.get(selector.network)?.subnets ?? []) tagged.push({ prefix, tag })
  }
  const pieces = cutPieces(tagged)
  const hosts = new Map<Ip, readonly string[]>()
  const tagsOfTask = taskTagger(selectors)
  for (const task of tasks.values()) {
    const tags = tagsOfTask(task)
    if (tags.length === 0) continue
    for (const address of containerAddresses(task)) {
      const known = hosts.get(address) ?? pieces.tagsOf(address)
      hosts.set(address, [...new Set([...known, ...tags])].toSorted())
    }
  }
  const ids = numberGroups([...pieces.all.map(({ tags }) => tags), ...hosts.values()])
  const idOf = (tags: readonly string[]) => ids.get(JSON.stringify(tags)) ?? 0
  return {
    prefixes: new Map(pieces.all.map(({ prefix, tags }) => [prefix, idOf(tags)])),
    hosts: new Map([...hosts].map(([address, tags]) => [address, idOf(tags)])),
    members: membersOf(ids),
  }
}

/** Does any label or task selector of the policies mean the task? */
export function isSelected(policies: Iterable<Policy>): (task: RunningTask) => boolean {
  const tagsOfTask = taskTagger(usedSelectors(policies))
  return (task) => tagsOfTask(task).length > 0
}

/** By text: the selectors that policies have, without `any`. Groups depend on nothing else of policies. */
export function usedSelectors(policies: Iterable<Policy>): ReadonlyMap<string, Selector> {
  const selectors = new Map<string, Selector>()
  for (const { from, to } of policies) {
    for (const selector of [from, to]) if (selector.kind !== 'any') selectors.set(formatSelector(selector), selector)
  }
  return selectors
}

/** Labels are found by their text: thousands of selectors do not make a task slower. */
function taskTagger(selectors: ReadonlyMap<string, Selector>): (task: RunningTask) => readonly string[] {
  const named: (readonly [string, TaskSelector])[] = []
  for (const [tag, selector] of selectors) if (selector.kind === 'task') named.push([tag, selector])
  return (task) => {
    const labels = Object.entries(task.labels ?? {}).map(([key, value]) =>
      formatSelector({ kind: 'label', key, value }),
    )
    return [
      ...labels.filter((tag) => selectors.has(tag)),
      ...named.flatMap(([tag, selector]) => (selectsTask(selector, task) ? [tag] : [])),
    ]
  }
}

/**
 * Numbers come from a hash of what the group is, so that a group keeps its number when others come and go, over restarts
 * too; where two meet, the one whose text is later in order takes the next free number.
 */
function numberGroups(groups: readonly (readonly string[])[]): ReadonlyMap<string, GroupId> {
  const keys = [...new Set(groups.map((tags) => JSON.stringify(tags)))].toSorted()
  if (keys.length > largestGroup) {
    const reason = `policies divide addresses into ${keys.length} groups, ${largestGroup} are possible`
    throw new AppError('ERR_ISOLATION_GROUPS', `${reason}: use fewer labels or prefixes in policies`)
  }
  const ids = new Map<string, GroupId>()
  const taken = new Set<GroupId>()
  for (const key of keys) {
    let id = 1 + (hash32(key) % largestGroup)
    while (taken.has(id)) id = 1 + (id % largestGroup)
    taken.add(id)
    ids.set(key, id)
  }
  return ids
}

/** 0xffff stands for "whatever destination" in the kernel's map. */
const largestGroup = 0xfffe

/** FNV-1a, 32 bits. */
export function hash32(text: string, seed = 0x811c9dc5): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

function membersOf(ids: ReadonlyMap<string, GroupId>): ReadonlyMap<string, readonly GroupId[]> {
  const members = new Map<string, GroupId[]>()
  for (const [key, id] of ids) {
    const tags: readonly string[] = JSON.parse(key)
    for (const tag of tags) {
      const list = members.get(tag)
      if (list === undefined) members.set(tag, [id])
      else list.push(id)
    }
  }
  return members
}
