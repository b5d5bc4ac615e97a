import { type TaskId } from '../model/ids.ts'
import { type AppRecord } from './app.ts'
import { type Claim } from './claim.ts'
import { type GroupRecord } from './group.ts'
import { type AppId, type GroupId, isBelow } from './ids.ts'
import { type Instance } from './instance.ts'
import { type Change, type WorldView } from './world.ts'
import { type DeploymentMembers } from './world-index.ts'

/** Changes that are not kept yet: read as if they were, dropped when they can't be written. */
export interface Draft extends WorldView {
  put(change: Change): void
  changes(): readonly Change[]
}

/** Undefined: removed. */
type Overlay<Id, Value> = Map<Id, Value | undefined>

interface Overlays {
  readonly apps: Overlay<AppId, AppRecord>
  readonly groups: Overlay<GroupId, GroupRecord>
  readonly instances: Map<AppId, Overlay<TaskId, Instance>>
  readonly claims: Map<AppId, Overlay<TaskId, Claim>>
}

/** A draft on top of `world`. */
export function openDraft(world: WorldView): Draft {
  const overlays: Overlays = { apps: new Map(), groups: new Map(), instances: new Map(), claims: new Map() }
  const { apps, groups, instances, claims } = overlays
  const changes: Change[] = []
  return {
    changes: () => changes,
    put: (change) => {
      changes.push(change)
      lay(overlays, change)
    },
    app: (id) => (apps.has(id) ? apps.get(id) : world.app(id)),
    group: (id) => (groups.has(id) ? groups.get(id) : world.group(id)),
    groups: () => [
      ...[...world.groups()].filter(({ id }) => !groups.has(id)),
      ...[...groups.values()].filter((group) => group !== undefined),
    ],
    instance: (app, id) => (instances.get(app)?.has(id) ? instances.get(app)?.get(id) : world.instance(app, id)),
    instancesOf: (id) => overlaid(world.instancesOf(id), instances.get(id)),
    claimsOf: (id) => overlaid(world.claimsOf(id), claims.get(id)),
    appsBelow: (group) => appsBelow(world, apps, group),
    dependents: world.dependents,
    members: (deployment) => members(world, overlays, deployment),
  }
}

function overlaid<Value extends { readonly id: TaskId }>(
  known: readonly Value[],
  overlay: Overlay<TaskId, Value> | undefined,
): readonly Value[] {
  if (overlay === undefined) return known
  return [...known.filter(({ id }) => !overlay.has(id)), ...overlay.values()].filter((value) => value !== undefined)
}

function layOwn<Value extends Pick<Instance, 'appId' | 'id'>>(
  all: Map<AppId, Overlay<TaskId, Value>>,
  { appId, id }: Value,
  value: Value | undefined,
): void {
  all.set(appId, (all.get(appId) ?? new Map<TaskId, Value | undefined>()).set(id, value))
}

function lay({ apps, groups, instances, claims }: Overlays, change: Change): void {
  if (change.kind === 'app.put') apps.set(change.record.definition.id, change.record)
  else if (change.kind === 'app.remove') apps.set(change.id, undefined)
  else if (change.kind === 'group.put') groups.set(change.record.id, change.record)
  else if (change.kind === 'group.remove') groups.set(change.id, undefined)
  else if (change.kind === 'instance.put' || change.kind === 'instance.remove') {
    layOwn(instances, change.instance, change.kind === 'instance.put' ? change.instance : undefined)
  } else if (change.kind === 'claim.put' || change.kind === 'claim.remove') {
    layOwn(claims, change.claim, change.kind === 'claim.put' ? change.claim : undefined)
  }
}

function appsBelow(world: WorldView, apps: Overlay<AppId, AppRecord>, group: GroupId): ReadonlySet<AppId> {
  const laid = [...apps].filter(([id]) => isBelow(id, group))
  if (laid.length === 0) return world.appsBelow(group)
  const all = new Set(world.appsBelow(group))
  for (const [id, record] of laid) record === undefined ? all.delete(id) : all.add(id)
  return all
}

function members(world: WorldView, { apps, groups }: Overlays, deployment: string): DeploymentMembers {
  const known = world.members(deployment)
  return {
    apps: membersOf(known.apps, apps, deployment),
    groups: membersOf(known.groups, groups, deployment),
  }
}

function membersOf<Id>(
  known: ReadonlySet<Id>,
  laid: Overlay<Id, { readonly deployment?: { readonly id: string } }>,
  deployment: string,
): ReadonlySet<Id> {
  if (laid.size === 0) return known
  const all = new Set(known)
  for (const [id, record] of laid) record?.deployment?.id === deployment ? all.add(id) : all.delete(id)
  return all
}
