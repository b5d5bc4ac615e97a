import { type z } from 'zod'
import { errorMessage, hasCode } from '../base/errors.ts'
import { type AppDefinition } from './app.ts'
import { type CheckContext, checkApp } from './check.ts'
import { translateDeprecated } from './deprecated.ts'
import { parentOf, parseAppId, resolvePath } from './ids.ts'
import { isObject, type JsonObject, withoutNulls } from '../scheduling/json.ts'
import { isHostMode } from './ports.ts'
import { type Finding, formatPath, groupProblems } from '../scheduling/problem.ts'
import { invalidApp } from './problem.ts'
import { residentDefaults } from './residency.ts'
import { type AppFields, appSchema } from './schema.ts'
import { withoutHarmless } from './unsupported.ts'

/**
 * An app from a request's body, every default filled in.
 * @throws ERR_SERVICES_INVALID with each problem and its path; nothing else
 */
export function parseApp(body: unknown, context: CheckContext): AppDefinition {
  const value = withoutNulls(body)
  if (!isObject(value)) throw invalidApp([{ path: '/', errors: ['must be a JSON object'] }])
  const { app, findings } = translateDeprecated(value)
  const { cleaned, refused } = refuseUnsupported(app)
  const parsed = appSchema.safeParse(residentDefaults(cleaned))
  const fieldFindings = parsed.success ? [] : parsed.error.issues.flatMap(issueFindings)
  const found = [...findings, ...refused, ...fieldFindings]
  if (!parsed.success) throw invalidApp(groupProblems(found))
  return finish(parsed.data, found, context)
}

function finish(fields: AppFields, found: readonly Finding[], context: CheckContext): AppDefinition {
  try {
    const id = parseAppId(fields.id)
    const all = [...found, ...checkApp(fields, id, context)]
    if (all.length > 0) throw invalidApp(groupProblems(all))
    const dependencies = fields.dependencies.map((path) => resolvePath(path, parentOf(id)))
    return { ...fields, ...networkDefaults(fields), dependencies, id }
  } catch (error) {
    if (!hasCode(error, 'ERR_SERVICES_ID')) throw error
    throw invalidApp(groupProblems([...found, { path: '/id', error: errorMessage(error) }]))
  }
}

/** Marathon gives an app on the host's network one port when it says nothing on ports. */
function networkDefaults(fields: AppFields): Pick<AppFields, 'networks' | 'portDefinitions'> {
  if (!isHostMode(fields)) return { networks: fields.networks }
  const networks: AppFields['networks'] = fields.networks.length > 0 ? fields.networks : [{ mode: 'host', labels: {} }]
  return {
    networks,
    portDefinitions: fields.portDefinitions ?? [{ port: 0, protocol: 'tcp', name: 'default', labels: {} }],
  }
}

function refuseUnsupported(value: JsonObject): { readonly cleaned: JsonObject; readonly refused: readonly Finding[] } {
  const refused: Finding[] = []
  const clean = (object: JsonObject, place: 'app' | 'container' | 'healthCheck', path: string): JsonObject => {
    const result = withoutHarmless(object, place)
    for (const [field, error] of result.refused) refused.push({ path: `${path}/${field}`, error })
    return result.kept
  }
  const app: Record<string, unknown> = { ...clean(value, 'app', '') }
  const { container, healthChecks } = app
  if (isObject(container)) app['container'] = clean(container, 'container', '/container')
  if (Array.isArray(healthChecks)) {
    app['healthChecks'] = healthChecks.map((check: unknown, i) =>
      isObject(check) ? clean(check, 'healthCheck', `/healthChecks(${i})`) : check,
    )
  }
  return { cleaned: app, refused }
}

function issueFindings(issue: z.core.$ZodIssue): readonly Finding[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: formatPath([...issue.path, key]),
      error: 'is not a field that exists here',
    }))
  }
  return [{ path: formatPath(issue.path), error: issue.message }]
}

/** Fields that exclude each other: giving one in an update takes the other away. */
const rivals: Readonly<Record<string, string>> = { cmd: 'args', args: 'cmd' }

/** Deprecated fields, and what takes their place: giving one in an update takes that away. */
const oldForms: Readonly<Record<string, readonly string[]>> = {
  ports: ['portDefinitions'],
  ipAddress: ['networks', 'portDefinitions'],
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

/**
 * The body of an update laid over a definition, top-level field by field; `null` gives a field its default again. Fields
 * that the update makes meaningless (cmd for args, portDefinitions when the app leaves the host's network) go.
 */
export function mergeUpdate(current: AppDefinition, update: JsonObject): JsonObject {
  const merged: Record<string, unknown> = { ...current, ...update }
  for (const [old, fields] of Object.entries(oldForms)) {
    if (!isGiven(update[old])) continue
    for (const field of fields) if (!(field in update)) delete merged[field]
  }
  for (const [field, rival] of Object.entries(rivals)) {
    if (isGiven(update[field]) && !(rival in update)) delete merged[rival]
  }
  if ('networks' in update && !('portDefinitions' in update)) {
    const { networks } = update
    const host =
      !Array.isArray(networks) || networks.every((network) => isObject(network) && network['mode'] === 'host')
    if (!host) delete merged['portDefinitions']
  }
  return merged
}
