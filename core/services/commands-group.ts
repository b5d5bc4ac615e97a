import { AppError } from '../base/errors.ts'
import { type AppDefinition, maxVersions } from './app.ts'
import { requireNoConflict } from './commands.ts'
import { pathExists } from './dependencies.ts'
import {
  type AppChange,
  type CommandContext,
  type CommandOptions,
  type Deployed,
  type GroupChange,
  startDeployment,
} from './deploy.ts'
import { type Draft } from './draft.ts'
import { type GroupVersion } from './group.ts'
import { type AppId, type GroupId, isBelow, parentOf, rootGroup } from './ids.ts'
import { stableJson } from '../scheduling/json.ts'
import { type GroupUpdate, parseGroup } from './parse-group.ts'
import { invalidApp } from './problem.ts'

/** What a group is to be: the apps and groups of it that are told, and those that go. */
interface Target {
  readonly apps: Map<AppId, { readonly definition: AppDefinition; readonly path: string }>
  readonly gone: Set<AppId>
  readonly groups: Map<GroupId, GroupChange>
}

/** True for the root, for a group that was made as such, and for one that holds apps. */
export function groupExists(view: Pick<Draft, 'group' | 'appsBelow'>, id: GroupId): boolean {
  return id === rootGroup || view.group(id) !== undefined || view.appsBelow(id).size > 0
}

/** The error for a group that does not exist. */
export function unknownGroup(id: string): AppError {
  return new AppError('ERR_SERVICES_UNKNOWN', `Group '${id}' does not exist`)
}

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_EXISTS ERR_SERVICES_LOCKED */
export function createGroup(context: CommandContext, body: unknown, options: GroupOptions): Deployed {
  const { draft } = context
  const { id } = options
  if (draft.app(id as string as AppId) !== undefined)
    throw new AppError('ERR_SERVICES_EXISTS', `An app with the path ${id} already exists.`)
  if (draft.group(id) !== undefined || draft.appsBelow(id).size > 0) {
    throw new AppError('ERR_SERVICES_EXISTS', `Group ${id} is already created. Use PUT to change this group.`)
  }
  const update = parseGroup(body, { id, check: context.check })
  return { ...updateGroup(context, update, options), outcome: 'created' }
}

/** Which group, and what becomes of deployments in the way. */
export interface GroupOptions extends CommandOptions {
  readonly id: GroupId
}

/**
 * All of a group in one deployment. Apps and groups that the body lists replace those that are there; those that did not
 * change are left alone. @throws ERR_SERVICES_INVALID ERR_SERVICES_LOCKED
 */
export function updateGroup(context: CommandContext, update: GroupUpdate, options: CommandOptions): Deployed {
  const { draft } = context
  const existed = groupExists(draft, update.id)
  const target: Target = { apps: new Map(), gone: new Set(), groups: new Map() }
  walk(draft, update, target)
  const told = [...target.apps.values()]
  requireNoConflict(
    told.map(({ definition }) => definition),
    (i) => told[i]?.path ?? '',
  )
  const deployed = deployTarget(context, { id: update.id, target }, options)
  return { ...deployed, outcome: existed ? 'changed' : 'created' }
}

function walk(draft: Draft, update: GroupUpdate, target: Target): void {
  const { id } = update
  if (draft.app(id as string as AppId) !== undefined)
    throw invalidApp([{ path: `${update.path}/id`, errors: [`is the path of an app: ${id}`] }])
  const dependencies = update.dependencies ?? draft.group(id)?.dependencies ?? []
  target.groups.set(id, { id, goal: 'run', dependencies })
  const below = [...draft.appsBelow(id)]
  if (update.apps !== undefined) {
    for (const app of update.apps) addOnce(target, app)
    for (const app of below) if (parentOf(app) === id && !target.apps.has(app)) target.gone.add(app)
  }
  if (update.groups === undefined) return
  for (const group of update.groups) walk(draft, group, target)
  const kept = update.groups.map((group) => group.id)
  const isGone = (path: AppId | GroupId): boolean =>
    isBelow(path, id) && !kept.some((group) => path === group || isBelow(path, group))
  for (const app of below) if (parentOf(app) !== id && isGone(app)) target.gone.add(app)
  for (const group of draft.groups()) if (isGone(group.id)) target.groups.set(group.id, goneGroup(group.id))
}

function addOnce(target: Target, app: { readonly definition: AppDefinition; readonly path: string }): void {
  const { id } = app.definition
  if (target.apps.has(id)) throw invalidApp([{ path: `${app.path}/id`, errors: ['is given twice'] }])
  target.apps.set(id, app)
}

const goneGroup = (id: GroupId): GroupChange => ({ id, goal: 'delete', dependencies: [] })

function deployTarget(
  context: CommandContext,
  { id, target }: { readonly id: GroupId; readonly target: Target },
  options: CommandOptions,
): Deployed {
  const { draft } = context
  const changed = [...target.apps.values()].flatMap(({ definition }) => runChange(draft, definition))
  const gone = [...target.gone].flatMap((app) => deleteChange(draft, app))
  const groups = [...target.groups.values()].filter((change) => change.id === id || isNews(draft, change))
  const deployed = startDeployment(context, { apps: [...changed, ...gone], groups }, options)
  keepGroupVersion(draft, id, deployed.version)
  return deployed
}

function isNews(draft: Draft, { id, goal, dependencies }: GroupChange): boolean {
  const before = draft.group(id)
  return before === undefined || goal === 'delete' || stableJson(before.dependencies) !== stableJson(dependencies)
}

function runChange(draft: Draft, definition: AppDefinition): readonly AppChange[] {
  const before = draft.app(definition.id)
  const isSame = before?.goal === 'run' && stableJson(before.definition) === stableJson(definition)
  return isSame ? [] : [{ definition, goal: 'run', restart: 'when-changed' }]
}

function deleteChange(draft: Draft, id: AppId): readonly AppChange[] {
  const record = draft.app(id)
  return record === undefined ? [] : [{ definition: record.definition, goal: 'delete', restart: 'when-changed' }]
}

/** What the group is from now on, to go back to. */
function keepGroupVersion(draft: Draft, id: GroupId, version: number): void {
  const record = draft.group(id)
  if (record === undefined) return
  const apps = [...draft.appsBelow(id)].flatMap((app) => {
    const known = draft.app(app)
    return known === undefined || known.goal === 'delete' ? [] : [[app, known.version] as const]
  })
  const groups = [...draft.groups()].flatMap((group) => {
    const isPart = group.goal === 'run' && (group.id === id || isBelow(group.id, id))
    return isPart ? [[group.id, group.dependencies] as const] : []
  })
  const state: GroupVersion = { id, version, apps: Object.fromEntries(apps), groups: Object.fromEntries(groups) }
  const history = [...record.history, version]
  for (const old of history.slice(0, -maxVersions)) draft.put({ kind: 'group-version.remove', id, version: old })
  draft.put({ kind: 'group-version.put', state })
  draft.put({ kind: 'group.put', record: { ...record, history: history.slice(-maxVersions) } })
}

/** Every app of the group gets so many times its instances, rounded up. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function scaleGroup(context: CommandContext, by: number, { id, ...options }: GroupOptions): Deployed {
  const { draft } = context
  if (!groupExists(draft, id)) throw unknownGroup(id)
  const target: Target = { apps: new Map(), gone: new Set(), groups: new Map() }
  for (const app of draft.appsBelow(id)) {
    const record = draft.app(app)
    if (record === undefined || record.goal === 'delete') continue
    const instances = Math.ceil(record.definition.instances * by)
    if (instances > 100_000)
      throw invalidApp([{ path: '/scaleBy', errors: [`gives ${app} more than 100000 instances`] }])
    target.apps.set(app, { definition: { ...record.definition, instances }, path: '' })
  }
  target.groups.set(id, { id, goal: 'run', dependencies: draft.group(id)?.dependencies ?? [] })
  return deployTarget(context, { id, target }, options)
}

/** A group of earlier, with the definitions that its apps had. */
export interface FormerState {
  readonly state: GroupVersion
  readonly definitions: readonly AppDefinition[]
}

/** Back to a group of earlier, in one deployment. @throws ERR_SERVICES_LOCKED */
export function revertGroup(
  context: CommandContext,
  { state, definitions }: FormerState,
  options: GroupOptions,
): Deployed {
  const { draft } = context
  const { id } = options
  const target: Target = { apps: new Map(), gone: new Set(), groups: new Map() }
  for (const definition of definitions) target.apps.set(definition.id, { definition, path: '' })
  for (const app of draft.appsBelow(id)) if (!target.apps.has(app)) target.gone.add(app)
  for (const group of draft.groups()) if (isBelow(group.id, id)) target.groups.set(group.id, goneGroup(group.id))
  for (const [group, dependencies] of Object.entries(state.groups)) {
    const known = group as GroupId
    target.groups.set(known, { id: known, goal: 'run', dependencies })
  }
  return deployTarget(context, { id, target }, options)
}

/**
 * Everything in a group goes; of the root: everything.
 * @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED; ERR_SERVICES_EXISTS when something outside depends on it
 */
export function deleteGroup(context: CommandContext, { id, ...options }: GroupOptions): Deployed {
  const { draft } = context
  if (!groupExists(draft, id)) throw unknownGroup(id)
  const apps = [...draft.appsBelow(id)]
  const records = [...draft.groups()].filter((group) => group.id === id || isBelow(group.id, id))
  if (options.lock === 'respect') requireNoDependents(draft, id, [id, ...apps, ...records.map((group) => group.id)])
  const groups = records.map((group) => goneGroup(group.id))
  return startDeployment(context, { apps: apps.flatMap((app) => deleteChange(draft, app)), groups }, options)
}

function requireNoDependents(draft: Draft, id: GroupId, paths: readonly string[]): void {
  const all = paths.flatMap((path) => [...draft.dependents(path)])
  const outside = [...new Set(all)].filter((other) => other !== id && !isBelow(other, id) && pathExists(draft, other))
  if (outside.length === 0) return
  const message = `Group ${id} is not deleted: ${outside.join(', ')} depend on it. Override with the option '?force=true'.`
  throw new AppError('ERR_SERVICES_EXISTS', message)
}
