import { AppError } from '../base/errors.ts'
import {
  type AppDefinition,
  type AppRecord,
  configFingerprint,
  type Deployment,
  type DeploymentAction,
  type Former,
  maxVersions,
  presentRecord,
} from './app.ts'
import { cancelDeployment } from './cancel.ts'
import { type CheckContext } from './check.ts'
import { orderApps, pathExists } from './dependencies.ts'
import { type Draft } from './draft.ts'
import { type GroupRecord } from './group.ts'
import { type AppId, type GroupId } from './ids.ts'
import { type Problem } from '../scheduling/problem.ts'
import { invalidApp } from './problem.ts'
import { residentProblem } from './residency.ts'
import { removeGroup } from './turn-deployment.ts'

/** What a command sees and may change. When it throws, the draft is dropped. */
export interface CommandContext {
  readonly draft: Draft
  readonly check: CheckContext
  /** Wall clock. */
  readonly nowMs: number
  /** Id of the deployment that the command starts. */
  readonly deploymentId: string
}

/** `force`: a deployment of the app that is on its way gives way. */
export interface CommandOptions {
  readonly lock: 'respect' | 'force'
}

/** What a command did. */
export interface Deployed {
  readonly records: readonly AppRecord[]
  readonly deploymentId: string
  /** Of the change. */
  readonly version: number
  /** Deployments that gave way. */
  readonly cancelled: readonly string[]
  readonly outcome: 'created' | 'changed'
  /** Apps of deployments that gave way. */
  readonly touched?: readonly AppId[]
}

/** What every change of one app comes down to. */
export interface AppChange {
  readonly definition: AppDefinition
  readonly goal: AppRecord['goal']
  /** Absent: as what changes demands. */
  readonly action?: DeploymentAction
  readonly restart: 'when-changed' | 'always'
  /** Instances of this one are taken on: a rollback to what still runs. */
  readonly config?: Pick<Former, 'configVersion' | 'definition'>
}

/** A group's new record, or its end. */
export interface GroupChange {
  readonly id: GroupId
  readonly goal: GroupRecord['goal']
  readonly dependencies: readonly string[]
}

/** Everything that becomes one deployment. */
export interface Changes {
  readonly apps: readonly AppChange[]
  readonly groups?: readonly GroupChange[]
}

/**
 * Starts one deployment of all changes: what stops comes first (dependents before what they depend on), then the rest,
 * each after what it depends on.
 * @throws ERR_SERVICES_LOCKED; ERR_SERVICES_INVALID for a cycle, or a dependency that does not exist
 */
export function startDeployment(context: CommandContext, changes: Changes, options: CommandOptions): Deployed {
  const { draft, deploymentId } = context
  const groups = changes.groups ?? []
  const ids = new Set(changes.apps.map(({ definition }) => definition.id))
  const locked = [...new Set(lockedBy(draft, { ids, groups }))]
  if (options.lock === 'respect') requireUnlocked(locked)
  // Before anything of it is changed: what is held goes back to what it was.
  const befores = new Map([...ids].map((id) => [id, draft.app(id)]))
  checkResidents(draft, changes.apps)
  const touched = locked.flatMap((id) => cancelDeployment(draft, id, ids))
  const version = nextVersion(context, [...befores.values()], groups)
  const records = changes.apps.map((change) =>
    recordOf(context, { change, before: befores.get(change.definition.id), version }),
  )
  const stopSteps = orderStops(draft, records)
  putAll(draft, records)
  for (const change of groups) putGroup(context, { change, version, hasApps: records.length > 0 })
  checkDependencies(draft, { records, groups, befores })
  const stepped = withSteps(draft, { records, stopSteps })
  putAll(draft, stepped)
  const created = records.length > 0 && [...befores.values()].every((before) => before === undefined)
  return {
    records: stepped,
    deploymentId,
    version,
    cancelled: locked,
    touched,
    outcome: created ? 'created' : 'changed',
  }
}

/** @throws ERR_SERVICES_INVALID for what volumes and reservations that there are can't be changed to */
function checkResidents(draft: Draft, apps: readonly AppChange[]): void {
  for (const { definition, goal } of apps) {
    const before = draft.app(definition.id)
    const isHeld = before !== undefined && draft.claimsOf(definition.id).some(({ state }) => state !== 'leaving')
    const problem = isHeld && goal === 'run' ? residentProblem(before.definition, definition) : undefined
    if (problem !== undefined) throw invalidApp([{ path: '/container/volumes', errors: [problem] }])
  }
}

function lockedBy(
  draft: Draft,
  { ids, groups }: { readonly ids: Iterable<AppId>; readonly groups: readonly GroupChange[] },
): readonly string[] {
  const ofApps = [...ids].flatMap((id) => draft.app(id)?.deployment?.id ?? [])
  return [...ofApps, ...groups.flatMap(({ id }) => draft.group(id)?.deployment?.id ?? [])]
}

/** @throws ERR_SERVICES_LOCKED */
export function requireUnlocked(locked: readonly string[]): void {
  const [first] = locked
  if (first === undefined) return
  const message =
    "App is locked by one or more deployments. Override with the option '?force=true'. " +
    `View details at '/v2/deployments/${first}'.`
  throw new AppError('ERR_SERVICES_LOCKED', message, { details: { deployments: locked.map((id) => ({ id })) } })
}

/** Versions of an app only grow, whatever the wall clock does. */
function nextVersion(
  { nowMs, draft }: CommandContext,
  befores: readonly (AppRecord | undefined)[],
  groups: readonly GroupChange[],
): number {
  const highest = befores.reduce((max, before) => Math.max(max, before?.version ?? 0, before?.history.at(-1) ?? 0), 0)
  const ofGroups = groups.reduce((max, { id }) => Math.max(max, draft.group(id)?.version ?? 0), 0)
  return Math.max(Math.floor(nowMs), highest + 1, ofGroups + 1)
}

interface NewRecord {
  readonly change: AppChange
  readonly before: AppRecord | undefined
  readonly version: number
}

function recordOf({ deploymentId, nowMs, draft }: CommandContext, { change, before, version }: NewRecord): AppRecord {
  const { definition, goal, restart } = change
  const fingerprint = configFingerprint(definition)
  const present = presentOf(before)
  const same = [present, change.config].find((other) => {
    return restart === 'when-changed' && other !== undefined && configFingerprint(other.definition) === fingerprint
  })
  const deployment: Deployment = {
    ...{ id: deploymentId, startedAtMs: nowMs, step: 1, state: 'active' },
    action: change.action ?? actionOf(goal, present, same !== undefined && same === present),
    ...(present === undefined ? {} : { before: formerOf(present) }),
  }
  keepVersion(draft, { definition, version, goal })
  const history = goal === 'delete' ? (before?.history ?? []) : [...(before?.history ?? []), version]
  for (const old of history.slice(0, -maxVersions))
    draft.put({ kind: 'version.remove', id: definition.id, version: old })
  return {
    ...{ definition, version, goal, deployment },
    configVersion: same?.configVersion ?? version,
    scalingVersion: before?.definition.instances === definition.instances ? before.scalingVersion : version,
    history: history.slice(-maxVersions),
  }
}

/** What an app is now: one whose deployment has not come to it is not what its record says yet. */
function presentOf(record: AppRecord | undefined): AppRecord | undefined {
  const { deployment } = record ?? {}
  if (record === undefined || (deployment?.state === 'waiting' && deployment.before === undefined)) return undefined
  return presentRecord(record)
}

function keepVersion(
  draft: Draft,
  { definition, version, goal }: { definition: AppDefinition; version: number; goal: AppRecord['goal'] },
): void {
  if (goal === 'run') draft.put({ kind: 'version.put', version, definition })
}

function actionOf(goal: AppRecord['goal'], before: AppRecord | undefined, isScaling: boolean): DeploymentAction {
  if (goal === 'delete') return 'StopApplication'
  if (before === undefined) return 'StartApplication'
  return isScaling ? 'ScaleApplication' : 'RestartApplication'
}

/** What of a record a rollback needs. */
export function formerOf({ definition, version, configVersion, scalingVersion, mixed }: AppRecord): Former {
  return { definition, version, configVersion, scalingVersion, ...(mixed === undefined ? {} : { mixed }) }
}

function putAll(draft: Draft, records: readonly AppRecord[]): void {
  for (const record of records) draft.put({ kind: 'app.put', record })
}

function putGroup(
  { draft, deploymentId }: CommandContext,
  { change, version, hasApps }: { change: GroupChange; version: number; hasApps: boolean },
): void {
  const { id, goal, dependencies } = change
  const before = draft.group(id)
  if (goal === 'delete' && !hasApps) {
    if (before !== undefined) removeGroup(draft, before)
    return
  }
  const former = before === undefined ? {} : { before: { dependencies: before.dependencies, version: before.version } }
  const deployment = hasApps ? { deployment: { id: deploymentId, ...former } } : {}
  const record: GroupRecord = { id, goal, dependencies, version, history: before?.history ?? [], ...deployment }
  draft.put({ kind: 'group.put', record })
}

interface Checked {
  readonly records: readonly AppRecord[]
  readonly groups: readonly GroupChange[]
  readonly befores: ReadonlyMap<AppId, AppRecord | undefined>
}

/** Only what is new is asked for: an app whose dependency was taken away by force can still be changed. */
function checkDependencies(draft: Draft, { records, groups, befores }: Checked): void {
  const problems: Problem[] = []
  const note = (path: string, known: readonly string[]) => (dependency: string, i: number) => {
    if (known.includes(dependency) || pathExists(draft, dependency)) return
    problems.push({ path: `${path}/dependencies(${i})`, errors: [`there is no app and no group ${dependency}`] })
  }
  for (const { definition, goal } of records) {
    const known = befores.get(definition.id)?.definition.dependencies ?? []
    if (goal === 'run') definition.dependencies.forEach(note('', known))
  }
  for (const { id, goal, dependencies } of groups) {
    if (goal === 'run') dependencies.forEach(note('', draft.group(id)?.deployment?.before?.dependencies ?? []))
  }
  if (problems.length > 0) throw invalidApp(problems)
  const cyclic = cycleAmong(draft, { records, groups })
  if (cyclic !== undefined) {
    const text = [...cyclic, cyclic[0]].join(' → ')
    throw invalidApp([{ path: '/dependencies', errors: [`has a cycle: ${text}`] }])
  }
}

/** A cycle that is new leads through something that was changed. */
function cycleAmong(
  draft: Draft,
  { records, groups }: Pick<Checked, 'records' | 'groups'>,
): readonly string[] | undefined {
  const changed = records.map(({ definition }) => definition.id)
  const below = groups.flatMap(({ id, dependencies }) => (dependencies.length > 0 ? [...draft.appsBelow(id)] : []))
  const order = orderApps(draft, new Set([...changed, ...below]))
  return order.kind === 'cycle' ? order.path : undefined
}

/** Before the records change: groups that go have their dependencies still. Those that depend on others stop first. */
function orderStops(draft: Draft, records: readonly AppRecord[]): ReadonlyMap<AppId, number> {
  const ids = records.flatMap(({ definition, goal }) => (goal === 'delete' ? [definition.id] : []))
  const order = orderApps(draft, new Set(ids))
  if (order.kind === 'cycle') return new Map(ids.map((id) => [id, 1]))
  const deepest = Math.max(0, ...order.depth.values())
  return new Map([...order.depth].map(([id, depth]) => [id, deepest - depth + 1]))
}

function withSteps(
  draft: Draft,
  { records, stopSteps }: { records: readonly AppRecord[]; stopSteps: ReadonlyMap<AppId, number> },
): readonly AppRecord[] {
  const running = new Set(records.flatMap(({ definition, goal }) => (goal === 'run' ? [definition.id] : [])))
  const order = orderApps(draft, running)
  const depth: ReadonlyMap<AppId, number> = order.kind === 'ordered' ? order.depth : new Map()
  const stops = Math.max(0, ...stopSteps.values())
  return records.map((record) => {
    const { deployment } = record
    const { id } = record.definition
    if (deployment === undefined) return record
    const step = stopSteps.get(id) ?? stops + (depth.get(id) ?? 0) + 1
    return { ...record, deployment: { ...deployment, step, state: step === 1 ? 'active' : 'waiting' } }
  })
}
