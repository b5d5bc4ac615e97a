import { type TaskId } from '../model/ids.ts'
import { type StoreWrite } from '../store/store.ts'
import { type AppDefinition, type AppRecord } from './app.ts'
import { type Claim } from './claim.ts'
import { type GroupRecord, type GroupVersion } from './group.ts'
import { type AppId, type GroupId } from './ids.ts'
import { type Instance } from './instance.ts'
import {
  appKey,
  claimKey,
  formatAppRecord,
  formatInstance,
  groupKey,
  groupVersionKey,
  instanceKey,
  versionKey,
} from './records.ts'
import { type VipUse } from './vip-use.ts'
import { type DeploymentMembers, makeWorldIndex, pathConflictOf } from './world-index.ts'

/** A change of what is kept. Versions are kept in the store only. */
export type Change =
  | { readonly kind: 'app.put'; readonly record: AppRecord }
  | { readonly kind: 'app.remove'; readonly id: AppId }
  | { readonly kind: 'instance.put'; readonly instance: Instance }
  | { readonly kind: 'instance.remove'; readonly instance: Instance }
  | { readonly kind: 'claim.put' | 'claim.remove'; readonly claim: Claim }
  | { readonly kind: 'group.put'; readonly record: GroupRecord }
  | { readonly kind: 'group.remove'; readonly id: GroupId }
  | { readonly kind: 'version.put'; readonly version: number; readonly definition: AppDefinition }
  | { readonly kind: 'version.remove'; readonly id: AppId; readonly version: number }
  | { readonly kind: 'group-version.put'; readonly state: GroupVersion }
  | { readonly kind: 'group-version.remove'; readonly id: GroupId; readonly version: number }

/** Apps, groups and instances to read. */
export interface WorldView {
  app(id: AppId): AppRecord | undefined
  instancesOf(id: AppId): readonly Instance[]
  instance(app: AppId, id: TaskId): Instance | undefined
  /** What instances of an app have, or had, on agents: also of an app that is gone. */
  claimsOf(id: AppId): readonly Claim[]
  /** What is kept of a group: one that only holds apps has no record. */
  group(id: GroupId): GroupRecord | undefined
  /** Groups with a record, the root included. */
  groups(): Iterable<GroupRecord>
  /** Apps in a group, however deep. */
  appsBelow(group: GroupId): ReadonlySet<AppId>
  /** Apps and groups of a deployment that is not over. */
  members(deployment: string): DeploymentMembers
  /** Apps and groups that name a path among their dependencies, as it was before a draft. */
  dependents(path: string): ReadonlySet<AppId | GroupId>
}

/** All apps and instances of this process. Every operation costs the same however many apps there are. */
export interface World extends WorldView {
  apps(): Iterable<AppRecord>
  apply(change: Change): void
  /** How many claims are to be given back. */
  leaving(): number
  /** Ids of deployments that are not over. */
  deployments(): Iterable<string>
  vipConflict(app: AppId, use: VipUse): AppId | undefined
  pathConflict(app: AppId): AppId | undefined
}

/** An empty world. */
export function makeWorld(): World {
  const apps = new Map<AppId, AppRecord>()
  const groups = new Map<GroupId, GroupRecord>()
  const instances = new Map<AppId, Map<TaskId, Instance>>()
  const claims = new Map<AppId, Map<TaskId, Claim>>()
  const leaving = new Set<TaskId>()
  const index = makeWorldIndex()
  const replaceApp = (id: AppId, after: AppRecord | undefined): void => {
    index.replaceApp(apps.get(id), after)
    after === undefined ? apps.delete(id) : apps.set(id, after)
  }
  const replaceGroup = (id: GroupId, after: GroupRecord | undefined): void => {
    index.replaceGroup(groups.get(id), after)
    after === undefined ? groups.delete(id) : groups.set(id, after)
  }
  const changeClaim = ({ kind, claim }: Change & { readonly claim: Claim }): void => {
    if (kind === 'claim.put' && claim.state === 'leaving') leaving.add(claim.id)
    else leaving.delete(claim.id)
    kind === 'claim.put' ? putOwn(claims, claim) : removeOwn(claims, claim)
  }
  return {
    apps: () => apps.values(),
    app: (id) => apps.get(id),
    group: (id) => groups.get(id),
    groups: () => groups.values(),
    instancesOf: (id) => [...(instances.get(id)?.values() ?? [])],
    instance: (app, id) => instances.get(app)?.get(id),
    claimsOf: (id) => [...(claims.get(id)?.values() ?? [])],
    leaving: () => leaving.size,
    appsBelow: index.below,
    members: index.members,
    deployments: index.deployments,
    dependents: index.dependents,
    vipConflict: index.vipConflict,
    pathConflict: (id) => pathConflictOf(id, { app: (other) => apps.get(other), below: index.below }),
    apply: (change) => {
      if (change.kind === 'app.put') replaceApp(change.record.definition.id, change.record)
      else if (change.kind === 'app.remove') replaceApp(change.id, undefined)
      else if (change.kind === 'group.put') replaceGroup(change.record.id, change.record)
      else if (change.kind === 'group.remove') replaceGroup(change.id, undefined)
      else if (change.kind === 'instance.put') putOwn(instances, change.instance)
      else if (change.kind === 'instance.remove') removeOwn(instances, change.instance)
      else if (change.kind === 'claim.put' || change.kind === 'claim.remove') changeClaim(change)
    },
  }
}

/** What belongs to an app and has an id. */
type Owned = Pick<Instance, 'appId' | 'id'>
type OwnedMaps<Value> = Map<AppId, Map<TaskId, Value>>

function putOwn<Value extends Owned>(all: OwnedMaps<Value>, value: Value): void {
  const own = all.get(value.appId) ?? new Map<TaskId, Value>()
  all.set(value.appId, own.set(value.id, value))
}

function removeOwn<Value extends Owned>(all: OwnedMaps<Value>, { appId, id }: Owned): void {
  const own = all.get(appId)
  own?.delete(id)
  if (own?.size === 0) all.delete(appId)
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
    case 'claim.put':
      return { key: claimKey(change.claim), value: JSON.stringify(change.claim) }
    case 'claim.remove':
      return { key: claimKey(change.claim), value: undefined }
    case 'group.put':
      return { key: groupKey(change.record.id), value: JSON.stringify(change.record) }
    case 'group.remove':
      return { key: groupKey(change.id), value: undefined }
    case 'version.put':
      return { key: versionKey(change.definition.id, change.version), value: JSON.stringify(change.definition) }
    case 'version.remove':
      return { key: versionKey(change.id, change.version), value: undefined }
    case 'group-version.put':
      return { key: groupVersionKey(change.state.id, change.state.version), value: JSON.stringify(change.state) }
    case 'group-version.remove':
      return { key: groupVersionKey(change.id, change.version), value: undefined }
  }
}
