import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { type AppDefinition } from './app.ts'
import { type CheckContext } from './check.ts'
import { type AppId, type GroupId, parentOf, parseGroupId, resolvePath } from './ids.ts'
import { isObject, type JsonObject, withoutNulls } from '../scheduling/json.ts'
import { parseApp } from './parse-app.ts'
import { type Problem } from '../scheduling/problem.ts'
import { invalidApp, problemsOf } from './problem.ts'

/** A group as a request's body has it; what is absent stays as it is. */
export interface GroupUpdate {
  readonly id: GroupId
  /** Where it stands in the body: ``, `/groups(0)`. */
  readonly path: string
  readonly apps?: readonly { readonly definition: AppDefinition; readonly path: string }[]
  readonly groups?: readonly GroupUpdate[]
  /** Absolute. */
  readonly dependencies?: readonly string[]
}

/** What a PUT of a group asks for. */
export type GroupRequest =
  | { readonly kind: 'update'; readonly update: GroupUpdate }
  | { readonly kind: 'scale'; readonly by: number }
  | { readonly kind: 'version'; readonly version: string }

/** Fields of answers, and of roles: they ask for nothing here. */
const harmlessFields: ReadonlySet<string> = new Set(['version', 'enforceRole', 'executorResources'])
const knownFields: ReadonlySet<string> = new Set(['id', 'apps', 'groups', 'dependencies', 'pods'])

/** @throws ERR_SERVICES_INVALID */
export function parseGroupRequest(body: unknown, id: GroupId, check: CheckContext): GroupRequest {
  const value = toObject(body)
  const others = Object.keys(value).filter((key) => key !== 'id')
  if ('scaleBy' in value) {
    const by = value['scaleBy']
    const isRight = typeof by === 'number' && by >= 0 && by <= 1_000_000 && others.length === 1
    if (!isRight) throw invalidApp([{ path: '/scaleBy', errors: ['is a number from 0, and stands alone'] }])
    return { kind: 'scale', by }
  }
  const { version } = value
  if (others.length === 1 && typeof version === 'string') return { kind: 'version', version }
  return { kind: 'update', update: parseGroup(value, { id, check }) }
}

/** The id that a body gives to its group, relative to `base`. @throws ERR_SERVICES_INVALID */
export function groupIdOf(body: unknown, base: GroupId): GroupId | undefined {
  const { id } = toObject(body)
  if (id === undefined) return undefined
  if (typeof id !== 'string') throw invalidApp([{ path: '/id', errors: ['must be a string'] }])
  return at('/id', () => parseGroupId(id, base))
}

/** @throws ERR_SERVICES_INVALID with the path of each problem */
export function parseGroup(
  body: unknown,
  { id, check, path = '' }: { readonly id: GroupId; readonly check: CheckContext; readonly path?: string },
): GroupUpdate {
  const value = toObject(body, path)
  const problems: Problem[] = unknownFields(value, path)
  const apps = listOf(value, 'apps', path)?.map((app, i) => {
    const appPath = `${path}/apps(${i})`
    return { path: appPath, definition: collect(problems, () => appOf(app, { id, check, path: appPath })) }
  })
  const groups = listOf(value, 'groups', path)?.map((group, i) =>
    collect(problems, () => childOf(group, { parent: id, check, path: `${path}/groups(${i})` })),
  )
  const dependencies = listOf(value, 'dependencies', path)?.map((dependency, i) => {
    if (typeof dependency === 'string' && dependency !== '') return resolvePath(dependency, id)
    problems.push({ path: `${path}/dependencies(${i})`, errors: ['must be a path'] })
    return ''
  })
  if (problems.length > 0) throw invalidApp(problems)
  return {
    ...{ id, path },
    ...(apps === undefined ? {} : { apps: apps.flatMap(withDefinition) }),
    ...(groups === undefined ? {} : { groups: groups.filter((group) => group !== undefined) }),
    ...(dependencies === undefined ? {} : { dependencies }),
  }
}

function withDefinition(app: {
  readonly definition: AppDefinition | undefined
  readonly path: string
}): readonly { readonly definition: AppDefinition; readonly path: string }[] {
  return app.definition === undefined ? [] : [{ definition: app.definition, path: app.path }]
}

interface Place {
  readonly id: GroupId
  readonly check: CheckContext
  readonly path: string
}

function appOf(body: unknown, { id, check, path }: Place): AppDefinition {
  const value = toObject(body, path)
  const name = value['id']
  if (typeof name !== 'string') throw invalidApp([{ path: `${path}/id`, errors: ['give the id of the app'] }])
  const absolute = resolvePath(name, id)
  if (parentOf(absolute as AppId) !== id) {
    throw invalidApp([{ path: `${path}/id`, errors: [`${absolute} is not in the group ${id}`] }])
  }
  return within(path, () => parseApp({ ...value, id: absolute }, check))
}

function childOf(
  body: unknown,
  { parent, check, path }: { readonly parent: GroupId; readonly check: CheckContext; readonly path: string },
): GroupUpdate {
  const { id: name } = toObject(body, path)
  if (typeof name !== 'string') throw invalidApp([{ path: `${path}/id`, errors: ['give the id of the group'] }])
  const id = at(`${path}/id`, () => parseGroupId(name, parent))
  if (parentOf(id) !== parent || id === parent) {
    throw invalidApp([{ path: `${path}/id`, errors: [`${id} is not in the group ${parent}`] }])
  }
  return parseGroup(body, { id, check, path })
}

function toObject(body: unknown, path = ''): JsonObject {
  const value = withoutNulls(body)
  if (isObject(value)) return value
  throw invalidApp([{ path: path === '' ? '/' : path, errors: ['must be a JSON object'] }])
}

function unknownFields(value: JsonObject, path: string): Problem[] {
  const pods = Array.isArray(value['pods']) && value['pods'].length === 0 ? [] : ['pods']
  return Object.keys(value)
    .filter((key) => (key === 'pods' ? pods.length > 0 : !knownFields.has(key) && !harmlessFields.has(key)))
    .map((key) => ({
      path: `${path}/${key}`,
      errors: [key === 'pods' ? 'are posted to /v2/pods' : 'is not a field that exists here'],
    }))
}

function listOf(value: JsonObject, field: string, path: string): readonly unknown[] | undefined {
  const list: unknown = value[field]
  if (list === undefined || Array.isArray(list)) return list
  throw invalidApp([{ path: `${path}/${field}`, errors: ['must be an array'] }])
}

/** All problems are told, not the first only. */
function collect<Value>(problems: Problem[], parse: () => Value): Value | undefined {
  try {
    return parse()
  } catch (error) {
    if (!hasCode(error, 'ERR_SERVICES_INVALID')) throw error
    problems.push(...problemsOf(error))
    return undefined
  }
}

function within<Value>(path: string, parse: () => Value): Value {
  try {
    return parse()
  } catch (error) {
    if (!hasCode(error, 'ERR_SERVICES_INVALID')) throw error
    throw invalidApp(
      problemsOf(error).map((problem) => ({ ...problem, path: `${path}${problem.path === '/' ? '' : problem.path}` })),
    )
  }
}

function at<Value>(path: string, parse: () => Value): Value {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'ERR_SERVICES_ID') throw error
    throw invalidApp([{ path, errors: [errorMessage(error)] }])
  }
}
