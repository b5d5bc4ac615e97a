import { AppError, errorMessage } from '../base/errors.ts'

/** The error of a write by a deposed leader. */
export function termError(written: number, newest: number): AppError {
  return new AppError('ERR_STORE_TERM', `term ${written} is over: a leader of term ${newest} has written`)
}

/** The error of a write in a term of this process that has ended, whether anybody leads by now or not. */
export function overError(term: number): AppError {
  return new AppError('ERR_STORE_TERM', `term ${term} of this process is over: it must stop acting and stand again`)
}

/** The error of a write that expected another revision. */
export function conflictError(key: string, expected: number, found: number): AppError {
  return new AppError('ERR_STORE_CONFLICT', `"${key}" has revision ${found}, not ${expected}: read it again`)
}

/** The error of everything that is asked of a store after its end. */
export function closedError(what: string): AppError {
  return new AppError('ERR_STORE_CLOSED', `${what} was closed by this process`)
}

/**
 * The server does not answer. What was being written may or may not be there: read again before deciding.
 * `what` names the server, without its password.
 */
export function unavailableError(what: string, cause?: unknown): AppError {
  const reason = cause === undefined ? 'no answer in time' : errorMessage(cause)
  const text = `${what}: ${reason}; see that the server runs and is reachable from here, then try again`
  return new AppError('ERR_STORE_UNAVAILABLE', text, { cause })
}

/** A count that only grows, smaller on the server than this process has seen it. */
export interface WentBack {
  readonly what: string
  readonly count: 'term' | 'revision'
  readonly seen: number
  readonly found: number
}

/** The server lost writes that it had acknowledged: it was restored from an older copy, or does not write through. */
export function wentBackError({ what, count, seen, found }: WentBack): AppError {
  const text =
    `${what} has ${count} ${found}, but ${count} ${seen} was seen there: it lost acknowledged writes ` +
    '(restored from an older copy, or not durable). Restore its newest copy, make it durable (core/store/README.md), ' +
    'then restart the masters'
  return new AppError('ERR_STORE_WENT_BACK', text, { details: { count, seen, found } })
}
