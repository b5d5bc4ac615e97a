import { type Ip } from '../../core/base/ip.ts'
import { type NodeName, type TaskId } from '../../core/model/ids.ts'
import { type ClusterSnapshot, emptySnapshot, type RunningTask, type SnapshotDelta } from '../../core/model/snapshot.ts'
import { taskVipKeys } from '../../core/model/task-vips.ts'
import { type SnapshotChange } from '../../networking/node/stage.ts'
import { formatVirtualServerKey, type VirtualServer } from '../dataplane.ts'
import { mergeBackends, taskBackends, type VipBackend } from './desired.ts'

/** What a change of the snapshot means for VIPs. */
export interface VipChange {
  /** Virtual servers that are new or whose backends differ. */
  readonly ensure: readonly VirtualServer[]
  /** Virtual servers that no task is behind any more. */
  readonly remove: readonly VirtualServer[]
  /** VIP addresses that come and go. */
  readonly routed: readonly Ip[]
  readonly unrouted: readonly Ip[]
}

/**
 * {@link desiredServers} kept up to date: a task's change costs what its own VIPs cost, not what all do. The answer of
 * `change` depends on its argument only; what is kept from the last one makes it quick when it goes on from there.
 */
export interface VipIndex {
  change(change: SnapshotChange): VipChange
  /** All that `snapshot` wants. The index is there afterwards. */
  all(snapshot: ClusterSnapshot): { readonly servers: readonly VirtualServer[]; readonly addresses: readonly Ip[] }
}

/** An index for the node `self`. */
export function makeVipIndex(self: NodeName): VipIndex {
  let view = buildView(emptySnapshot, self)
  return {
    change: (change) => {
      const start = view.snapshot === change.previous ? view : buildView(change.previous, self)
      // Nodes and networks change rarely, and may change what any task's backend is.
      if (changesPlaces(change.delta)) {
        view = buildView(change.next, self)
        return compareViews(start, view)
      }
      const step = stepView(start, change)
      view = step.view
      return step.change
    },
    all: (snapshot) => {
      if (view.snapshot !== snapshot) view = buildView(snapshot, self)
      return { servers: [...view.servers.values()], addresses: [...view.addresses.keys()] }
    },
  }
}

interface View {
  readonly snapshot: ClusterSnapshot
  readonly self: NodeName
  /** What the tasks give: by key of the virtual server, then task. */
  readonly groups: Map<string, Map<TaskId, readonly VipBackend[]>>
  readonly servers: Map<string, VirtualServer>
  /** By key of a named VIP: who asks for it, whether or not it has an address yet. */
  readonly named: Map<string, Set<TaskId>>
  /** How many virtual servers and allocated VIPs have the address. */
  readonly addresses: Map<Ip, number>
}

/** What one step touched, and how that was before. */
interface Touched {
  readonly servers: Map<string, VirtualServer | undefined>
  readonly addresses: Map<Ip, 'present' | 'absent'>
}

function noneTouched(): Touched {
  return { servers: new Map(), addresses: new Map() }
}

function buildView(snapshot: ClusterSnapshot, self: NodeName): View {
  const maps = { groups: new Map(), servers: new Map(), named: new Map(), addresses: new Map() }
  const view: View = { snapshot, self, ...maps }
  const touched = noneTouched()
  for (const { addresses } of snapshot.vips.values()) countAddresses(view, touched, { addresses, step: 1 })
  for (const task of snapshot.tasks.values()) putTask(view, touched, task)
  for (const key of touched.servers.keys()) refreshServer(view, touched, key)
  return view
}

/** Takes the change's tasks out and puts them in again; then makes anew the virtual servers that this touched. */
function stepView(
  old: View,
  { previous, next, delta }: SnapshotChange,
): { readonly view: View; readonly change: VipChange } {
  const view = { ...old, snapshot: next } // the maps are moved on, the old view is not used again
  const touched = noneTouched()
  const tasks = new Set([...delta.tasks.removals, ...delta.tasks.upserts.keys()])
  for (const key of [...delta.vips.removals, ...delta.vips.upserts.keys()]) {
    for (const id of view.named.get(key) ?? []) tasks.add(id)
    countAddresses(view, touched, { addresses: previous.vips.get(key)?.addresses ?? [], step: -1 })
    countAddresses(view, touched, { addresses: next.vips.get(key)?.addresses ?? [], step: 1 })
  }
  for (const id of tasks) {
    const [before, after] = [previous.tasks.get(id), next.tasks.get(id)]
    if (before !== undefined) takeTask(view, touched, { task: before, snapshot: previous })
    if (after !== undefined) putTask(view, touched, after)
  }
  for (const key of touched.servers.keys()) refreshServer(view, touched, key)
  return { view, change: changeOf(view, touched) }
}

function changeOf(view: View, touched: Touched): VipChange {
  const ensure: VirtualServer[] = []
  const remove: VirtualServer[] = []
  for (const [key, before] of touched.servers) {
    const after = view.servers.get(key)
    if (after === undefined) remove.push(...(before === undefined ? [] : [before]))
    else if (before === undefined || !sameServer(before, after)) ensure.push(after)
  }
  const addresses = [...touched.addresses]
  return {
    ensure,
    remove,
    routed: addresses.flatMap(([address, was]) => (was === 'absent' && view.addresses.has(address) ? [address] : [])),
    unrouted: addresses.flatMap(([address, was]) =>
      was === 'present' && !view.addresses.has(address) ? [address] : [],
    ),
  }
}

function compareViews(before: View, after: View): VipChange {
  const touched = noneTouched()
  for (const key of [...before.servers.keys(), ...after.servers.keys()])
    touched.servers.set(key, before.servers.get(key))
  for (const address of after.addresses.keys()) touched.addresses.set(address, 'absent')
  for (const address of before.addresses.keys()) touched.addresses.set(address, 'present')
  return changeOf(after, touched)
}

function putTask(view: View, touched: Touched, task: RunningTask): void {
  for (const key of taskVipKeys(task, 'pass-over')) grown(view.named, key, () => new Set<TaskId>()).add(task.id)
  for (const one of taskBackends(task, view.snapshot, view.self)) {
    const key = touchServer(view, touched, one)
    const group = grown(view.groups, key, () => new Map<TaskId, readonly VipBackend[]>())
    group.set(task.id, [...(group.get(task.id) ?? []), one])
  }
}

function takeTask(
  view: View,
  touched: Touched,
  { task, snapshot }: { readonly task: RunningTask; readonly snapshot: ClusterSnapshot },
): void {
  for (const key of taskVipKeys(task, 'pass-over')) {
    const ids = view.named.get(key)
    ids?.delete(task.id)
    if (ids?.size === 0) view.named.delete(key)
  }
  for (const one of taskBackends(task, snapshot, view.self)) {
    const key = touchServer(view, touched, one)
    const group = view.groups.get(key)
    group?.delete(task.id)
    if (group?.size === 0) view.groups.delete(key)
  }
}

function touchServer(view: View, touched: Touched, { server }: VipBackend): string {
  const key = formatVirtualServerKey(server)
  if (!touched.servers.has(key)) touched.servers.set(key, view.servers.get(key))
  return key
}

function refreshServer(view: View, touched: Touched, key: string): void {
  const before = view.servers.get(key)
  const after = mergeBackends([...(view.groups.get(key)?.values() ?? [])].flat())
  if (after === undefined) view.servers.delete(key)
  else view.servers.set(key, after)
  if (before !== undefined) countAddresses(view, touched, { addresses: [before.address], step: -1 })
  if (after !== undefined) countAddresses(view, touched, { addresses: [after.address], step: 1 })
}

function countAddresses(
  { addresses: counts }: View,
  touched: Touched,
  { addresses, step }: { readonly addresses: readonly Ip[]; readonly step: 1 | -1 },
): void {
  for (const address of addresses) {
    const count = counts.get(address) ?? 0
    if (!touched.addresses.has(address)) touched.addresses.set(address, count > 0 ? 'present' : 'absent')
    if (count + step > 0) counts.set(address, count + step)
    else counts.delete(address)
  }
}

function grown<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const present = map.get(key)
  if (present !== undefined) return present
  const made = make()
  map.set(key, made)
  return made
}

function sameServer(a: VirtualServer, b: VirtualServer): boolean {
  if (a.scheduler !== b.scheduler) return false
  return JSON.stringify(a.backends) === JSON.stringify(b.backends) // built by one function: fields come in one order
}

function changesPlaces({ nodes, networks }: SnapshotDelta): boolean {
  return nodes.upserts.size + nodes.removals.size + networks.upserts.size + networks.removals.size > 0
}
