import { AppError, errorMessage } from '../../core/base/errors.ts'

/** A parsed JSON object of unknown shape. */
export type JsonObject = Readonly<Record<string, unknown>>

/** True for an object that is neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** @throws ERR_CNI_DECODE when the text is not one JSON object; `what` names it in the message */
export function parseJsonObject(text: string, what: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new AppError('ERR_CNI_DECODE', `${what} is not JSON: ${errorMessage(cause).slice(0, 200)}`, { cause })
  }
  if (!isJsonObject(value)) throw new AppError('ERR_CNI_DECODE', `${what} is not a JSON object`)
  return value
}

function wrong(key: string, wanted: string): AppError {
  return new AppError('ERR_CNI_DECODE', `key "${key}" must be ${wanted}`)
}

/** Null counts as absent, as it does for Go's decoder. @throws ERR_CNI_DECODE for another type */
export function stringField(object: JsonObject, key: string): string | undefined {
  const value = object[key] ?? undefined
  if (value === undefined || typeof value === 'string') return value
  throw wrong(key, 'a string')
}

/** An integer that fits a CNI result. @throws ERR_CNI_DECODE */
export function integerField(object: JsonObject, key: string): number | undefined {
  const value = object[key] ?? undefined
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value
  throw wrong(key, 'an integer')
}

/** Libcni takes the texts "true" and "false" too. @throws ERR_CNI_DECODE */
export function flagField(object: JsonObject, key: string): boolean {
  const value = object[key] ?? false
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw wrong(key, 'true or false')
}

/** @throws ERR_CNI_DECODE */
export function objectField(object: JsonObject, key: string): JsonObject | undefined {
  const value = object[key] ?? undefined
  if (value === undefined || isJsonObject(value)) return value
  throw wrong(key, 'an object')
}

/** Empty when absent. @throws ERR_CNI_DECODE */
export function listField(object: JsonObject, key: string): readonly unknown[] {
  const value = object[key] ?? []
  if (Array.isArray(value)) return value
  throw wrong(key, 'a list')
}

/** Empty when absent. @throws ERR_CNI_DECODE */
export function stringsField(object: JsonObject, key: string): readonly string[] {
  return listField(object, key).map((value) => {
    if (typeof value === 'string') return value
    throw wrong(key, 'a list of strings')
  })
}

/** Empty when absent. @throws ERR_CNI_DECODE */
export function objectsField(object: JsonObject, key: string): readonly JsonObject[] {
  return listField(object, key).map((value) => {
    if (isJsonObject(value)) return value
    throw wrong(key, 'a list of objects')
  })
}
