import { type Clock } from '../base/clock.ts'
import { AppError } from '../base/errors.ts'
import { type Leadership } from './store.ts'

/** A term of office that ends by itself unless the server confirms it in time. */
export interface Tenure {
  readonly leadership: Leadership
  /** The server granted it again, in answer to what was sent at `sentAtMs` (monotonic). */
  confirm(sentAtMs: number): void
  /** False once it is over; looks at the clock, so that a process that was stopped learns of it before it acts. */
  isValid(): boolean
  /** Ends it, once. */
  end(reason: AppError): void
}

/** What a tenure is made of. */
export interface TenureOptions {
  readonly term: number
  /** How long each confirmation holds, counted from its sending, the safety margin already taken off. */
  readonly holdMs: number
  /** When the first grant was asked for, monotonic. */
  readonly sentAtMs: number
  readonly clock: Clock
  /** Lets others in, as far as the server can be reached; called once, whatever ended it. Must not throw. */
  readonly release: () => Promise<void>
}

/** Counting from the sending and not from the answer makes it end here before it ends at the server. */
export function openTenure(options: TenureOptions): Tenure {
  const { clock, holdMs, term } = options
  const lost = new AbortController()
  let untilMs = options.sentAtMs + holdMs
  let cancel: () => void = () => undefined
  let released: Promise<void> | undefined
  const end = (reason: AppError) => {
    if (lost.signal.aborted) return
    cancel()
    lost.abort(reason)
    released = options.release()
  }
  const isValid = () => {
    if (!lost.signal.aborted && clock.monotonicMs() >= untilMs) end(lapsedError(term, holdMs))
    return !lost.signal.aborted
  }
  const arm = () => {
    cancel = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () => {
      if (isValid()) arm() // a timer may be early by a fraction
    })
  }
  const confirm = (sentAtMs: number) => {
    if (!isValid() || sentAtMs + holdMs <= untilMs) return
    untilMs = sentAtMs + holdMs
    cancel()
    arm()
  }
  const resign = async () => {
    end(new AppError('ERR_STORE_RESIGNED', 'this term of office was given up'))
    await released
  }
  arm()
  const leadership: Leadership = {
    term,
    get lost() {
      isValid()
      return lost.signal
    },
    resign,
  }
  return { leadership, confirm, isValid, end }
}

function lapsedError(term: number, holdMs: number): AppError {
  const text = `term ${term} could not be confirmed for ${Math.round(holdMs)} ms: the store did not answer, or this process was stopped`
  return new AppError('ERR_STORE_LAPSED', text)
}
