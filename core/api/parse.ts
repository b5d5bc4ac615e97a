import { AppError } from '../base/errors.ts'
import { type Cidr, type Ip, parseIp } from '../base/ip.ts'
import { parseCidr } from '../base/cidr.ts'

/**
 * What arrives over gRPC is well-formed protocol buffers, but may mean nothing: a sub-message is missing, a state is not
 * one of ours. Each reader of this folder turns that into this one error.
 */
export function invalid(field: string, problem: string, cause?: unknown): AppError {
  return new AppError('ERR_API_INVALID', `${field}: ${problem}`, cause === undefined ? {} : { cause })
}

/** `value`, which the sender must have set. @throws ERR_API_INVALID */
export function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw invalid(field, 'is missing')
  return value
}

/** `text` as one of `allowed`. @throws ERR_API_INVALID */
export function oneOf<T extends string>(text: string, allowed: readonly T[], field: string): T {
  const found = allowed.find((candidate) => candidate === text)
  if (found === undefined) throw invalid(field, `"${text}" is not one of ${allowed.join(', ')}`)
  return found
}

/** Runs a parser of the model, naming the field in its error. @throws ERR_API_INVALID */
export function parsed<T>(text: string, parse: (text: string) => T, field: string): T {
  try {
    return parse(text)
  } catch (error) {
    throw invalid(field, error instanceof Error ? error.message : 'is not valid', error)
  }
}

/** @throws ERR_API_INVALID */
export function addresses(texts: readonly string[], field: string): readonly Ip[] {
  return texts.map((text) => parsed(text, parseIp, field))
}

/** @throws ERR_API_INVALID */
export function prefixes(texts: readonly string[], field: string): readonly Cidr[] {
  return texts.map((text) => parsed(text, parseCidr, field))
}

/** A port number, 0 to 65535. @throws ERR_API_INVALID */
export function portNumber(value: number, field: string): number {
  if (value > 65535) throw invalid(field, `${value} is not a port: 0 to 65535`)
  return value
}
