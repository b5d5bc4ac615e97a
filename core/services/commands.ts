import { AppError } from '../base/errors.ts'
import { type TaskId } from '../model/ids.ts'
import { type AppDefinition, type AppRecord, configFingerprint, type Deployment, type DeploymentAction } from './app.ts'
import { type CheckContext } from './check.ts'
import { type AppId, parseAppId } from './ids.ts'
import { type Instance, isActive, isOccupying, stepInstance } from './instance.ts'
import { isObject, type JsonObject } from './json.ts'
import { mergeUpdate, parseApp } from './parse-app.ts'
import { invalidApp, problemsOf } from './problem.ts'
import { vipUses } from './vip-use.ts'
import { type Draft, makeWorld } from './world.ts'

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
  /** Deployments that gave way. */
  readonly cancelled: readonly string[]
  readonly outcome: 'created' | 'changed'
}

/** What every change of one app comes down to. */
interface AppChange {
  readonly definition: AppDefinition
  readonly goal: AppRecord['goal']
  readonly action: DeploymentAction
  readonly restart: 'when-changed' | 'always'
}

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_EXISTS ERR_SERVICES_LOCKED */
export function createApp(context: CommandContext, body: unknown): Deployed {
  const definition = parseApp(body, context.check)
  const existing = context.draft.app(definition.id)
  if (existing !== undefined) {
    requireUnlocked(existing, { lock: existing.goal === 'delete' ? 'respect' : 'force' })
    throw new AppError('ERR_SERVICES_EXISTS', `An app with id [${definition.id}] already exists.`)
  }
  return putApp(context, definition, { lock: 'respect' })
}

/** How an update treats the fields that it does not have, and an app that does not exist. */
export interface UpdateOptions extends CommandOptions {
  readonly fields: 'keep-others' | 'replace'
  readonly missing: 'create' | 'refuse'
}

/** @throws ERR_SERVICES_INVALID ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function updateApp(
  context: CommandContext,
  body: unknown,
  options: UpdateOptions & { readonly id: AppId },
): Deployed {
  if (!isObject(body)) throw invalidApp([{ path: '/', errors: ['must be a JSON object'] }])
  const { id } = options
  const existing = context.draft.app(id)
  if (existing === undefined && options.missing === 'refuse') throw unknownApp(id)
  if (typeof body['id'] === 'string' && normalized(body['id']) !== id) {
    throw invalidApp([{ path: '/id', errors: [`is not ${id}, the id of the path: an app cannot be renamed`] }])
  }
  refuseRollback(body)
  const keep = existing !== undefined && options.fields === 'keep-others'
  const merged = keep ? mergeUpdate(existing.definition, body) : body
  return putApp(context, parseApp({ ...merged, id }, context.check), options)
}

/** In Marathon a body of nothing but a version means: back to that version. */
function refuseRollback(body: JsonObject): void {
  const fields = Object.keys(body).filter((field) => field !== 'id')
  if (fields.length !== 1 || fields[0] !== 'version') return
  throw invalidApp([{ path: '/version', errors: ['going back to a version is not supported yet: send the app'] }])
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
  const all = ids.map((id, i) => within(i, () => updateApp(context, bodies[i], { ...options, id })))
  requireNoConflict(all.flatMap(({ records }) => records))
  return {
    records: all.flatMap(({ records }) => records),
    deploymentId: context.deploymentId,
    cancelled: [...new Set(all.flatMap(({ cancelled }) => cancelled))],
    outcome: 'changed',
  }
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
function requireNoConflict(records: readonly AppRecord[]): void {
  const world = makeWorld()
  for (const [i, record] of records.entries()) {
    const { id } = record.definition
    const vip = vipUses(record.definition).uses.find((use) => world.vipConflict(id, use) !== undefined)
    const path = world.pathConflict(id)
    if (path !== undefined)
      throw invalidApp([{ path: `/(${i})/id`, errors: [`an app and a group cannot have one path: ${path}`] }])
    if (vip !== undefined) {
      const errors = [
        `VIP ${vip.vip} is used with other protocols or another scheduler by ${world.vipConflict(id, vip)}`,
      ]
      throw invalidApp([{ path: `/(${i})${vip.path}`, errors }])
    }
    world.apply({ kind: 'app.put', record })
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

function putApp(context: CommandContext, definition: AppDefinition, options: CommandOptions): Deployed {
  const existing = context.draft.app(definition.id)
  const isScaling = existing !== undefined && configFingerprint(existing.definition) === configFingerprint(definition)
  const action = existing === undefined ? 'StartApplication' : isScaling ? 'ScaleApplication' : 'RestartApplication'
  return deploy(context, { definition, goal: 'run', action, restart: 'when-changed' }, options)
}

/** @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function deleteApp(context: CommandContext, id: AppId, options: CommandOptions): Deployed {
  const { definition } = requireApp(context.draft, id)
  return deploy(context, { definition, goal: 'delete', action: 'StopApplication', restart: 'when-changed' }, options)
}

/** New instances for old, by the upgrade strategy. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export function restartApp(context: CommandContext, id: AppId, options: CommandOptions): Deployed {
  const { definition, goal } = requireApp(context.draft, id)
  return deploy(context, { definition, goal, action: 'RestartApplication', restart: 'always' }, options)
}

function deploy(context: CommandContext, change: AppChange, options: CommandOptions): Deployed {
  const { draft, nowMs, deploymentId } = context
  const before = draft.app(change.definition.id)
  if (before !== undefined) requireUnlocked(before, options)
  const version = Math.max(nowMs, (before?.version ?? 0) + 1)
  const same =
    before !== undefined &&
    change.restart === 'when-changed' &&
    configFingerprint(before.definition) === configFingerprint(change.definition)
  const deployment: Deployment = { id: deploymentId, action: change.action, startedAtMs: nowMs }
  const record: AppRecord = {
    definition: change.definition,
    version,
    configVersion: same ? before.configVersion : version,
    scalingVersion: before?.definition.instances === change.definition.instances ? before.scalingVersion : version,
    goal: change.goal,
    deployment,
  }
  draft.put({ kind: 'app.put', record })
  const cancelled = before?.deployment === undefined ? [] : [before.deployment.id]
  return { records: [record], deploymentId, cancelled, outcome: before === undefined ? 'created' : 'changed' }
}

/** Tasks to kill, and whether they are to be replaced. */
export interface KillOptions extends CommandOptions {
  readonly afterwards: 'replace' | 'scale-down'
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
  if (options.afterwards === 'scale-down') for (const app of apps) requireUnlocked(requireApp(draft, app), options)
  const parts = options.afterwards === 'replace' ? [] : apps.map((app) => scaleDown(context, app, { killed, options }))
  for (const instance of killed) draft.put({ kind: 'instance.put', instance: stepInstance(instance, { kind: 'stop' }) })
  if (parts.length === 0) return { killed, deployed: undefined }
  const records = parts.flatMap((part) => part.records)
  const cancelled = parts.flatMap((part) => part.cancelled)
  return { killed, deployed: { records, cancelled, deploymentId: context.deploymentId, outcome: 'changed' } }
}

function scaleDown(
  context: CommandContext,
  app: AppId,
  { killed, options }: { readonly killed: readonly Instance[]; readonly options: CommandOptions },
): Deployed {
  const { definition, goal } = requireApp(context.draft, app)
  const fewer = killed.filter((instance) => instance.appId === app && isActive(instance)).length
  const instances = Math.max(0, definition.instances - fewer)
  const change: AppChange = {
    definition: { ...definition, instances },
    goal,
    action: 'ScaleApplication',
    restart: 'when-changed',
  }
  return deploy(context, change, options)
}

/** @throws ERR_SERVICES_UNKNOWN */
function requireApp(draft: Draft, id: AppId): AppRecord {
  const record = draft.app(id)
  if (record === undefined) throw unknownApp(id)
  return record
}

/** @throws ERR_SERVICES_LOCKED */
function requireUnlocked({ deployment }: AppRecord, { lock }: CommandOptions): void {
  if (deployment === undefined || lock === 'force') return
  const message =
    "App is locked by one or more deployments. Override with the option '?force=true'. " +
    `View details at '/v2/deployments/${deployment.id}'.`
  throw new AppError('ERR_SERVICES_LOCKED', message, { details: { deployments: [{ id: deployment.id }] } })
}

/** The error for an app that does not exist. */
export function unknownApp(id: string): AppError {
  return new AppError('ERR_SERVICES_UNKNOWN', `App '${id}' does not exist`)
}
