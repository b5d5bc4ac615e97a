/** Options of an {@link AppError}: what caused it, and facts a program may read. */
export interface AppErrorOptions {
  readonly cause?: unknown
  readonly details?: Readonly<Record<string, unknown>>
}

/**
 * An error that programs match by `code` (`ERR_<AREA>_<REASON>`), never by its message. The message is for a person:
 * what was attempted, on what, and what to do.
 */
export class AppError extends Error {
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: string, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.details = options.details ?? {}
  }
}

/** True when `error` carries this `code`: an {@link AppError}'s, or Node's (`ENOENT`, …). */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}

/** The text of anything thrown, for a log field or for a person. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Closes a union: the compiler refuses the call while a kind is not handled. */
export function unreachable(value: never): never {
  throw new AppError('ERR_BASE_UNREACHABLE', `unexpected value ${JSON.stringify(value)}`)
}
