/** A JSON object whose keys nobody has checked. */
export type Json = Readonly<Record<string, unknown>>

/** The value as an object; an empty one for anything else. */
export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

/** The value as a list; an empty one for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** The value as text; empty for anything else. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** An id: text in `/state`, `{value}` in the v1 API. */
export function idOf(value: unknown): string {
  return typeof value === 'string' ? value : textOf(objectOf(value)['value'])
}

/** A list that the v1 API wraps into an object with the same key, and `/state` only sometimes. */
export function wrappedList(value: unknown, key: string): readonly unknown[] {
  return Array.isArray(value) ? value : listOf(objectOf(value)[key])
}
