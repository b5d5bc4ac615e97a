import { AppError } from '../base/errors.ts'
import { type TaskId } from '../model/ids.ts'
import { type AppDefinition, type AppRecord } from './app.ts'
import {
  type AppChange,
  type CommandContext,
  type CommandOptions,
  type Deployed,
  requireUnlocked,
  startDeployment,
} from './deploy.ts'
import { type Draft } from './draft.ts'
import { type AppId, parseAppId } from './ids.ts'
import { type Instance, isActive, isOccupying, stepInstance } from './instance.ts'
import { isObject } from '../scheduling/json.ts'
import { mergeUpdate, parseApp } from './parse-app.ts'
import { invalidApp, problemsOf } from './problem.ts'
import { vipUses } from './vip-use.ts'
import { makeWorld } from './world.ts'

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_EXISTS ERR_SERVICES_LOCKED */
export function createApp(context: CommandContext, body: unknown): Deployed {
  const definition = parseApp(body, context.check)
  const existing = context.draft.app(definition.id)
  if (existing !== undefined) {
    if (existing.goal === 'delete' && existing.deployment !== undefined) requireUnlocked([existing.deployment.id])
    throw new AppError('ERR_SERVICES_EXISTS', `An app with id [${definition.id}] already exists.`)
  }
  return startDeployment(context, { apps: [runChange(definition)] }, { lock: 'respect' })
}

/** How an update treats the fields that it does not have, and an app that does not exist. */
export interface UpdateOptions extends CommandOptions {
  readonly fields: 'keep-others' | 'replace'
  readonly missing: 'create' | 'refuse'
}

function runChange(definition: AppDefinition): AppChange {
  return { definition, goal: 'run', restart: 'when-changed' }
}

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function updateApp(
  context: CommandContext,
  body: unknown,
  options: UpdateOptions & { readonly id: AppId },
): Deployed {
  return startDeployment(context, { apps: [updateOf(context, body, options)] }, options)
}

function updateOf(context: CommandContext, body: unknown, options: UpdateOptions & { readonly id: AppId }): AppChange {
  if (!isObject(body)) throw invalidApp([{ path: '/', errors: ['must be a JSON object'] }])
  const { id } = options
  const existing = context.draft.app(id)
  if (existing === undefined && options.missing === 'refuse') throw unknownApp(id)
  if (existing?.definition.pod !== undefined) throw unknownApp(id) // it is changed as a whole, below /v2/pods
  if (typeof body['id'] === 'string' && normalized(body['id']) !== id) {
    throw invalidApp([{ path: '/id', errors: [`is not ${id}, the id of the path: an app cannot be renamed`] }])
  }
  const keep = existing !== undefined && options.fields === 'keep-others'
  const merged = keep ? mergeUpdate(existing.definition, body) : body
  return runChange(parseApp({ ...merged, id }, context.check))
}

/** The version that a body of nothing but a version goes back to. Source: marathon, AppUpdate. */
export function versionAsked(body: unknown): string | undefined {
  if (!isObject(body)) return undefined
  const fields = Object.keys(body).filter((field) => field !== 'id')
  const { version } = body
  return fields.length === 1 && typeof version === 'string' ? version : undefined
}

/** Back to a definition of earlier. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED ERR_SERVICES_INVALID */
export function revertApp(context: CommandContext, definition: AppDefinition, options: CommandOptions): Deployed {
  requireApp(context.draft, definition.id)
  return startDeployment(context, { apps: [runChange(parseApp(definition, context.check))] }, options)
}

function normalized(id: string): string {
  return id.startsWith('/') ? id : `/${id}`
}

/** Several apps in one deployment: all of them, or none. The path of a problem says which by its number. */
export function updateApps(context: CommandContext, bodies: unknown, options: UpdateOptions): Deployed {
  if (!Array.isArray(bodies)) throw invalidApp([{ path: '/', errors: ['must be a JSON array of apps'] }])
  const ids = bodies.map((body: unknown, i) => idOf(body, i))
  const twice = ids.findIndex((id, i) => ids.indexOf(id) !== i)
  if (twice >= 0) throw invalidApp([{ path: `/(${twice})/id`, errors: ['is given twice'] }])
  const changes = ids.map((id, i) => within(i, () => updateOf(context, bodies[i], { ...options, id })))
  requireNoConflict(changes.map(({ definition }) => definition))
  return { ...startDeployment(context, { apps: changes }, options), outcome: 'changed' }
}

/** Problems of one element of an array are told at its place. */
function within<Value>(i: number, run: () => Value): Value {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'ERR_SERVICES_INVALID') throw error
    throw invalidApp(
      problemsOf(error).map(({ path, errors }) => ({ path: path === '/' ? `/(${i})` : `/(${i})${path}`, errors })),
    )
  }
}

/** Each was compared with what there is; here they are compared with each other. */
export function requireNoConflict(
  definitions: readonly AppDefinition[],
  placeOf: (i: number) => string = (i) => `/(${i})`,
): void {
  const world = makeWorld()
  for (const [i, definition] of definitions.entries()) {
    const { id } = definition
    const vip = vipUses(definition).uses.find((use) => world.vipConflict(id, use) !== undefined)
    const path = world.pathConflict(id)
    if (path !== undefined)
      throw invalidApp([{ path: `${placeOf(i)}/id`, errors: [`an app and a group cannot have one path: ${path}`] }])
    if (vip !== undefined) {
      const errors = [
        `VIP ${vip.vip} is used with other protocols or another scheduler by ${world.vipConflict(id, vip)}`,
      ]
      throw invalidApp([{ path: `${placeOf(i)}${vip.path}`, errors }])
    }
    const versions = { version: 0, configVersion: 0, scalingVersion: 0, history: [] }
    world.apply({ kind: 'app.put', record: { definition, goal: 'run', ...versions } })
  }
}

function idOf(body: unknown, i: number): AppId {
  const id = isObject(body) ? body['id'] : undefined
  if (typeof id !== 'string') throw invalidApp([{ path: `/(${i})/id`, errors: ['give the id of the app'] }])
  try {
    return parseAppId(id)
  } catch (error) {
    throw invalidApp([{ path: `/(${i})/id`, errors: [error instanceof Error ? error.message : String(error)] }])
  }
}

/** @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED ERR_SERVICES_EXISTS when others depend on it */
export function deleteApp(context: CommandContext, id: AppId, options: CommandOptions): Deployed {
  const { definition } = requireApp(context.draft, id)
  return startDeployment(context, { apps: [{ definition, goal: 'delete', restart: 'when-changed' }] }, options)
}

/** New instances for old, by the upgrade strategy. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function restartApp(context: CommandContext, id: AppId, options: CommandOptions): Deployed {
  const { definition, goal } = requireApp(context.draft, id)
  const change: AppChange = { definition, goal, action: 'RestartApplication', restart: 'always' }
  return startDeployment(context, { apps: [change] }, options)
}

/** Tasks to kill, and whether they are to be replaced. */
export interface KillOptions extends CommandOptions {
  readonly afterwards: 'replace' | 'scale-down'
  /** `wipe`: their persistent volumes are destroyed; absent: kept for the next task. */
  readonly volumes?: 'keep' | 'wipe'
}

/**
 * Stops instances; with `scale-down` the app has so many fewer from now on, and that is a deployment.
 * @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED
 */
export function killTasks(
  context: CommandContext,
  tasks: readonly { readonly app: AppId; readonly id: TaskId }[],
  options: KillOptions,
): { readonly killed: readonly Instance[]; readonly deployed: Deployed | undefined } {
  const { draft } = context
  const killed = tasks.flatMap(({ app, id }) => {
    const instance = draft.instance(app, id)
    return instance === undefined || !isOccupying(instance) ? [] : [instance]
  })
  const apps = [...new Set(killed.map(({ appId }) => appId))]
  const changes = options.afterwards === 'replace' ? [] : apps.map((app) => fewer(draft, app, killed))
  const deployed = changes.length === 0 ? undefined : startDeployment(context, { apps: changes }, options)
  for (const instance of killed) draft.put({ kind: 'instance.put', instance: stepInstance(instance, { kind: 'stop' }) })
  if (options.volumes === 'wipe') wipeClaims(draft, tasks, killed)
  return { killed, deployed }
}

/** A claim may be named too: of an instance that does not run now. */
function wipeClaims(
  draft: Draft,
  tasks: readonly { readonly app: AppId; readonly id: TaskId }[],
  killed: readonly Instance[],
): void {
  const ids = new Set([...tasks.map(({ id }) => id), ...killed.flatMap(({ claim }) => claim ?? [])])
  for (const claim of [...new Set(tasks.map(({ app }) => app))].flatMap((app) => draft.claimsOf(app))) {
    if (ids.has(claim.id)) draft.put({ kind: 'claim.put', claim: { ...claim, state: 'leaving' } })
  }
}

function fewer(draft: Draft, app: AppId, killed: readonly Instance[]): AppChange {
  const { definition, goal } = requireApp(draft, app)
  const count = killed.filter((instance) => instance.appId === app && isActive(instance)).length
  const instances = Math.max(0, definition.instances - count)
  return { definition: { ...definition, instances }, goal, action: 'ScaleApplication', restart: 'when-changed' }
}

/** @throws ERR_SERVICES_UNKNOWN */
function requireApp(draft: Draft, id: AppId): AppRecord {
  const record = draft.app(id)
  if (record === undefined) throw unknownApp(id)
  return record
}

/** The error for an app that does not exist. */
export function unknownApp(id: string): AppError {
  return new AppError('ERR_SERVICES_UNKNOWN', `App '${id}' does not exist`)
}
