import { type AppRecord } from './app.ts'
import { type GroupRecord } from './group.ts'
import { type AppId, ancestorsOf, type GroupId, groupsOf } from './ids.ts'
import { makeVipIndex, type VipUse, vipUses } from './vip-use.ts'

/** The parts of one deployment. */
export interface DeploymentMembers {
  readonly apps: ReadonlySet<AppId>
  readonly groups: ReadonlySet<GroupId>
}

/** Finds apps and groups by what they are in, without reading all of them. */
export interface WorldIndex {
  replaceApp(before: AppRecord | undefined, after: AppRecord | undefined): void
  replaceGroup(before: GroupRecord | undefined, after: GroupRecord | undefined): void
  /** Ids of deployments that are on their way. */
  deployments(): Iterable<string>
  members(deployment: string): DeploymentMembers
  vipConflict(app: AppId, use: VipUse): AppId | undefined
  /** Apps in a group, however deep. */
  below(group: GroupId): ReadonlySet<AppId>
  /** Apps and groups that name a path among their dependencies. */
  dependents(path: string): ReadonlySet<AppId | GroupId>
}

const none: ReadonlySet<never> = new Set()

/** An index of nothing. */
export function makeWorldIndex(): WorldIndex {
  const vips = makeVipIndex()
  const apps = new Map<string, Set<AppId>>()
  const groups = new Map<string, Set<GroupId>>()
  const byGroup = new Map<GroupId, Set<AppId>>()
  const byDependency = new Map<string, Set<AppId | GroupId>>()
  return {
    deployments: () => new Set([...apps.keys(), ...groups.keys()]),
    members: (id) => ({ apps: apps.get(id) ?? none, groups: groups.get(id) ?? none }),
    vipConflict: (app, use) => vips.conflict(app, use),
    below: (group) => byGroup.get(group) ?? none,
    dependents: (path) => byDependency.get(path) ?? none,
    replaceApp: (before, after) => {
      const id = before?.definition.id ?? after?.definition.id
      if (id === undefined) return
      move(apps, id, { from: before?.deployment?.id, to: after?.deployment?.id })
      if (before?.definition !== after?.definition) {
        vips.set(id, after === undefined ? [] : vipUses(after.definition).uses)
        moveAll(byDependency, id, { from: before?.definition.dependencies, to: after?.definition.dependencies })
      }
      if ((before === undefined) === (after === undefined)) return
      for (const group of ancestorsOf(id))
        after === undefined ? dropMember(byGroup, group, id) : addMember(byGroup, group, id)
    },
    replaceGroup: (before, after) => {
      const id = before?.id ?? after?.id
      if (id === undefined) return
      move(groups, id, { from: before?.deployment?.id, to: after?.deployment?.id })
      moveAll(byDependency, id, { from: before?.dependencies, to: after?.dependencies })
    },
  }
}

function move<Id>(
  sets: Map<string, Set<Id>>,
  id: Id,
  { from, to }: { readonly from: string | undefined; readonly to: string | undefined },
): void {
  if (from === to) return
  if (from !== undefined) dropMember(sets, from, id)
  if (to !== undefined) addMember(sets, to, id)
}

function moveAll<Id>(
  sets: Map<string, Set<Id>>,
  id: Id,
  {
    from = [],
    to = [],
  }: { readonly from?: readonly string[] | undefined; readonly to?: readonly string[] | undefined },
): void {
  for (const path of from) dropMember(sets, path, id)
  for (const path of to) addMember(sets, path, id)
}

function addMember<Key, Id>(sets: Map<Key, Set<Id>>, key: Key, id: Id): void {
  sets.set(key, (sets.get(key) ?? new Set<Id>()).add(id))
}

function dropMember<Key, Id>(sets: Map<Key, Set<Id>>, key: Key, id: Id): void {
  sets.get(key)?.delete(id)
  if (sets.get(key)?.size === 0) sets.delete(key)
}

/** The app that is at one of an app's groups, or below it: an app and a group cannot have one path. */
export function pathConflictOf(
  id: AppId,
  { app, below }: { app(id: AppId): unknown; below(group: GroupId): ReadonlySet<AppId> },
): AppId | undefined {
  const above = groupsOf(id).find((group) => app(group) !== undefined)
  return (
    above ??
    below(id as string as GroupId)
      .values()
      .next().value
  )
}
