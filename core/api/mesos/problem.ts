import { type z } from 'zod'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'

/** As deep as protobuf's own readers go. */
const deepest = 100

/**
 * A value without its members that are `null`: clients send unset fields so. Members of arrays stay.
 * @throws ERR_SCHEDULER_MALFORMED for a value that is nested too deep
 */
export function withoutNulls(value: unknown, depth = 0): unknown {
  if (depth > deepest) throw malformed('body', `is nested more than ${deepest} deep`)
  if (Array.isArray(value)) return value.map((member) => withoutNulls(member, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).filter(([, member]) => member !== null)
  return Object.fromEntries(members.map(([key, member]) => [key, withoutNulls(member, depth + 1)]))
}

/** A call that can't be understood, with the JSON path of what is wrong: HTTP says 400. */
export function malformed(path: string, problem: string): AppError {
  return new AppError('ERR_SCHEDULER_MALFORMED', `${path}: ${problem}`)
}

/** A field that would change what happens, and that Weft does not know: its task, or the call, is refused. */
export function unsupported(path: string, advice = 'Weft does not support it'): AppError {
  return new AppError('ERR_SCHEDULER_UNSUPPORTED', `${path}: ${advice}`)
}

/** True for what {@link unsupported} makes. */
export function isUnsupported(error: unknown): error is AppError {
  return error instanceof AppError && hasCode(error, 'ERR_SCHEDULER_UNSUPPORTED')
}

/** Reads by a schema. @throws ERR_SCHEDULER_MALFORMED with the path below `path` */
export function readAs<T>(schema: z.ZodType<T>, value: unknown, path: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw malformed(formatPath(path, issue?.path ?? []), issue?.message ?? 'is malformed')
}

/** Reads an id. @throws ERR_SCHEDULER_MALFORMED */
export function readId<T>(parse: (text: string) => T, id: { readonly value: string }, path: string): T {
  try {
    return parse(id.value)
  } catch (error) {
    throw malformed(`${path}.value`, errorMessage(error)) // ERR_MODEL_ID
  }
}

/** Refuses what is there of these fields. @throws ERR_SCHEDULER_UNSUPPORTED */
export function refuseFields(value: Readonly<Record<string, unknown>>, path: string, fields: readonly string[]): void {
  const found = fields.find((field) => isGiven(value[field]))
  if (found !== undefined) throw unsupported(`${path}.${found}`)
}

/** An empty list says as much as none. */
function isGiven(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined
}

function formatPath(start: string, path: readonly PropertyKey[]): string {
  const step = (text: string, key: PropertyKey) =>
    typeof key === 'number' ? `${text}[${key}]` : `${text}${text === '' ? '' : '.'}${String(key)}`
  const text = path.reduce(step, start)
  return text === '' ? 'body' : text
}
