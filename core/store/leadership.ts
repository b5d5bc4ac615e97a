import { AppError } from '../base/errors.ts'
import { openNotice } from './notice.ts'
import { type Leadership } from './store.ts'

/** Candidates of one store in one process: the first is elected, the others wait in the order in which they came. */
export interface Candidates {
  /** Waits for its turn, then lets `begin` make the next term. */
  elect(candidate: string, begin: () => number, signal: AbortSignal): Promise<Leadership>
  /** Who is in office, and each change. */
  watch(signal: AbortSignal): AsyncIterable<string | undefined>
  /** Ends the present term and refuses all who wait. */
  close(): void
}

interface Office {
  resign(): Promise<void>
}

/** Election among the candidates of one process; that no other process holds the store is the adapter's business. */
export function openCandidates(): Candidates {
  const waiting: { wake: () => void; refuse: (error: AppError) => void }[] = []
  let office: Office | undefined
  const leader = openNotice<string | undefined>(undefined)
  let closed = false
  const take = (candidate: string, begin: () => number): Leadership => {
    const lost = new AbortController()
    const resign = async () => {
      if (lost.signal.aborted) return
      lost.abort(new AppError('ERR_STORE_RESIGNED', 'this term of office was given up'))
      office = undefined
      leader.set(undefined)
      waiting.shift()?.wake()
    }
    office = { resign }
    try {
      const term = begin()
      leader.set(candidate)
      return { term, lost: lost.signal, resign }
    } catch (error) {
      void resign()
      throw error
    }
  }
  const elect = async (candidate: string, begin: () => number, signal: AbortSignal): Promise<Leadership> => {
    while (office !== undefined) await turn(waiting, signal)
    signal.throwIfAborted()
    if (closed) throw new AppError('ERR_STORE_CLOSED', 'the store is closed')
    return take(candidate, begin)
  }
  const close = () => {
    closed = true
    for (const { refuse } of waiting.splice(0)) refuse(new AppError('ERR_STORE_CLOSED', 'the store was closed'))
    void office?.resign()
    leader.close()
  }
  return { elect, watch: (signal) => leader.watch(signal), close }
}

/** Resolves when it is one's turn to look again. @throws AbortError */
function turn(waiting: { wake: () => void; refuse: (error: AppError) => void }[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const leave = () => {
      const at = waiting.indexOf(entry)
      if (at >= 0) waiting.splice(at, 1)
      reject(signal.reason)
    }
    const entry = {
      wake: () => {
        signal.removeEventListener('abort', leave)
        resolve()
      },
      refuse: reject,
    }
    signal.addEventListener('abort', leave, { once: true })
    waiting.push(entry)
  })
}
