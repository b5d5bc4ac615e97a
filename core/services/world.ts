import { type TaskId } from '../model/ids.ts'
import { type StoreWrite } from '../store/store.ts'
import { type AppRecord } from './app.ts'
import { type AppId, groupsOf } from './ids.ts'
import { type Instance } from './instance.ts'
import { appKey, formatAppRecord, formatInstance, instanceKey } from './records.ts'
import { makeVipIndex, type VipUse, vipUses } from './vip-use.ts'

/** A change of what is kept. */
export type Change =
  | { readonly kind: 'app.put'; readonly record: AppRecord }
  | { readonly kind: 'app.remove'; readonly id: AppId }
  | { readonly kind: 'instance.put'; readonly instance: Instance }
  | { readonly kind: 'instance.remove'; readonly instance: Instance }

/** Apps and instances to read. */
export interface WorldView {
  app(id: AppId): AppRecord | undefined
  instancesOf(id: AppId): readonly Instance[]
  instance(app: AppId, id: TaskId): Instance | undefined
}

/** All apps and instances of this process. Every operation costs the same however many apps there are. */
export interface World extends WorldView {
  apps(): Iterable<AppRecord>
  apply(change: Change): void
  /** Apps of a deployment that is not over. */
  deploymentApps(id: string): ReadonlySet<AppId>
  vipConflict(app: AppId, use: VipUse): AppId | undefined
  pathConflict(app: AppId): AppId | undefined
}

/** An empty world. */
export function makeWorld(): World {
  const apps = new Map<AppId, AppRecord>()
  const instances = new Map<AppId, Map<TaskId, Instance>>()
  const index = makeAppIndex()
  return {
    apps: () => apps.values(),
    app: (id) => apps.get(id),
    instancesOf: (id) => [...(instances.get(id)?.values() ?? [])],
    instance: (app, id) => instances.get(app)?.get(id),
    deploymentApps: index.deploymentApps,
    vipConflict: index.vipConflict,
    pathConflict: (id) => groupsOf(id).find((group) => apps.has(group)) ?? index.below(id),
    apply: (change) => {
      switch (change.kind) {
        case 'app.put':
          index.replace(apps.get(change.record.definition.id), change.record)
          apps.set(change.record.definition.id, change.record)
          return
        case 'app.remove':
          index.replace(apps.get(change.id), undefined)
          apps.delete(change.id)
          return
        case 'instance.put':
          putInstance(instances, change.instance)
          return
        case 'instance.remove':
          removeInstance(instances, change.instance)
      }
    },
  }
}

type InstanceMaps = Map<AppId, Map<TaskId, Instance>>

function putInstance(instances: InstanceMaps, instance: Instance): void {
  const own = instances.get(instance.appId) ?? new Map<TaskId, Instance>()
  instances.set(instance.appId, own.set(instance.id, instance))
}

function removeInstance(instances: InstanceMaps, { appId, id }: Instance): void {
  const own = instances.get(appId)
  own?.delete(id)
  if (own?.size === 0) instances.delete(appId)
}

function makeAppIndex(): {
  replace(before: AppRecord | undefined, after: AppRecord | undefined): void
  deploymentApps(id: string): ReadonlySet<AppId>
  vipConflict(app: AppId, use: VipUse): AppId | undefined
  below(id: AppId): AppId | undefined
} {
  const vips = makeVipIndex()
  const byDeployment = new Map<string, Set<AppId>>()
  const byGroup = new Map<string, Set<AppId>>()
  return {
    deploymentApps: (id) => byDeployment.get(id) ?? new Set(),
    vipConflict: (app, use) => vips.conflict(app, use),
    below: (id) => byGroup.get(id)?.values().next().value,
    replace: (before, after) => {
      const id = before?.definition.id ?? after?.definition.id
      if (id === undefined) return
      if (before?.deployment !== undefined) dropMember(byDeployment, before.deployment.id, id)
      if (after?.deployment !== undefined) addMember(byDeployment, after.deployment.id, id)
      if (before?.definition !== after?.definition)
        vips.set(id, after === undefined ? [] : vipUses(after.definition).uses)
      for (const group of groupsOf(id))
        after === undefined ? dropMember(byGroup, group, id) : addMember(byGroup, group, id)
    },
  }
}

function addMember(sets: Map<string, Set<AppId>>, key: string, id: AppId): void {
  sets.set(key, (sets.get(key) ?? new Set()).add(id))
}

function dropMember(sets: Map<string, Set<AppId>>, key: string, id: AppId): void {
  sets.get(key)?.delete(id)
  if (sets.get(key)?.size === 0) sets.delete(key)
}

/** Changes that are not kept yet: read as if they were, dropped when they can't be written. */
export interface Draft extends WorldView {
  put(change: Change): void
  changes(): readonly Change[]
}

/** A draft on top of `world`. */
export function openDraft(world: WorldView): Draft {
  const apps = new Map<AppId, AppRecord | undefined>()
  const instances = new Map<AppId, Map<TaskId, Instance | undefined>>()
  const changes: Change[] = []
  const own = (app: AppId): Map<TaskId, Instance | undefined> => instances.get(app) ?? new Map()
  return {
    changes: () => changes,
    app: (id) => (apps.has(id) ? apps.get(id) : world.app(id)),
    instance: (app, id) => (own(app).has(id) ? own(app).get(id) : world.instance(app, id)),
    instancesOf: (id) => {
      const overlay = instances.get(id)
      if (overlay === undefined) return world.instancesOf(id)
      const kept = world.instancesOf(id).filter((instance) => !overlay.has(instance.id))
      return [...kept, ...overlay.values()].filter((instance) => instance !== undefined)
    },
    put: (change) => {
      changes.push(change)
      if (change.kind === 'app.put') apps.set(change.record.definition.id, change.record)
      else if (change.kind === 'app.remove') apps.set(change.id, undefined)
      else {
        const { appId, id } = change.instance
        instances.set(appId, own(appId).set(id, change.kind === 'instance.put' ? change.instance : undefined))
      }
    },
  }
}

/** The write that keeps a change. */
export function writeOf(change: Change): StoreWrite {
  switch (change.kind) {
    case 'app.put':
      return { key: appKey(change.record.definition.id), value: formatAppRecord(change.record) }
    case 'app.remove':
      return { key: appKey(change.id), value: undefined }
    case 'instance.put':
      return { key: instanceKey(change.instance), value: formatInstance(change.instance) }
    case 'instance.remove':
      return { key: instanceKey(change.instance), value: undefined }
  }
}
