import { AppError } from '../../base/errors.ts'
import { type AppId, parseAppId } from '../ids.ts'
import { isObject } from '../../scheduling/json.ts'
import { unknownApp } from '../commands.ts'

/** What a path below /v2/apps/ names. Ids have slashes, so the last segments decide. */
export type AppTarget =
  | { readonly kind: 'app'; readonly id: AppId }
  | { readonly kind: 'restart'; readonly id: AppId }
  | { readonly kind: 'tasks'; readonly id: AppId }
  | { readonly kind: 'task'; readonly id: AppId; readonly task: string }
  | { readonly kind: 'versions'; readonly id: AppId }
  | { readonly kind: 'version'; readonly id: AppId; readonly version: string }

/** @throws ERR_SERVICES_UNKNOWN when no app could have that path */
export function parseTarget(path: string): AppTarget {
  const segments = path.split('/').filter((segment) => segment !== '')
  const last = segments.at(-1)
  const first = (count: number): AppId => parsePathId(segments.slice(0, segments.length - count).join('/'))
  if (segments.length > 1 && last === 'restart') return { kind: 'restart', id: first(1) }
  if (segments.length > 1 && last === 'tasks') return { kind: 'tasks', id: first(1) }
  if (segments.length > 2 && segments.at(-2) === 'tasks' && last !== undefined) {
    return { kind: 'task', id: first(2), task: last }
  }
  if (segments.length > 1 && last === 'versions') return { kind: 'versions', id: first(1) }
  if (segments.length > 2 && segments.at(-2) === 'versions' && last !== undefined) {
    return { kind: 'version', id: first(2), version: last }
  }
  return { kind: 'app', id: first(0) }
}

function parsePathId(path: string): AppId {
  try {
    return parseAppId(path)
  } catch {
    throw unknownApp(`/${path}`) // ERR_SERVICES_ID: there can be no such app
  }
}

/** A query parameter that is `true` or `false` (absent: `fallback`). @throws ERR_SERVICES_REQUEST */
export function readFlag(query: unknown, name: string, fallback: 'true' | 'false' = 'false'): 'true' | 'false' {
  const value = isObject(query) ? query[name] : undefined
  if (value === undefined || value === '') return value === '' ? 'true' : fallback
  if (value === 'true' || value === 'false') return value
  throw new AppError('ERR_SERVICES_REQUEST', `the query parameter ${name} is true or false`)
}

/** All values of a query parameter as they are. */
export function readTexts(query: unknown, name: string): readonly string[] {
  const value: unknown = isObject(query) ? query[name] : undefined
  const values: readonly unknown[] = Array.isArray(value) ? value : [value]
  return values.filter((item) => typeof item === 'string')
}

/** All values of a query parameter, also comma-separated. */
export function readList(query: unknown, name: string): readonly string[] {
  return readTexts(query, name)
    .flatMap((item) => item.split(','))
    .filter((item) => item !== '')
}

/** `force=true`: a deployment that is on its way gives way. */
export function readLock(query: unknown): { readonly lock: 'respect' | 'force' } {
  return { lock: readFlag(query, 'force') === 'true' ? 'force' : 'respect' }
}
