import { type ServerResponse } from 'node:http'
import { type Clock } from '../../../base/clock.ts'

/** A part of a document; an empty one only says that time has passed. */
export type Piece = string | Buffer

/** Longest time that one document takes of a turn of events, ms. */
const sliceMs = 5

/** Octets of one write: enough for the system call not to matter. */
const writeBytes = 256 * 1024

/** A reader that takes nothing for so long is cut off: it would keep old state in memory. */
const stalledMs = 30_000

/** What sending pieces needs. */
export interface PiecesOptions {
  readonly clock: Clock
  readonly stallLimitMs?: number
}

/**
 * Sends a document that is made while it is sent: a few milliseconds of each turn of events, and no faster than it is read.
 * @returns false when the reader went away, or read nothing for 30 s and was cut off
 */
export async function sendPieces(
  response: ServerResponse,
  pieces: Iterable<Piece>,
  { clock, stallLimitMs = stalledMs }: PiecesOptions,
): Promise<boolean> {
  let waiting: Buffer[] = []
  let bytes = 0
  let startedMs = clock.monotonicMs()
  const flush = async () => {
    const flows = bytes === 0 || response.write(waiting.length === 1 ? waiting[0] : Buffer.concat(waiting, bytes))
    waiting = []
    bytes = 0
    const isOpen = flows ? await nextTurn() : await drained(response, clock, stallLimitMs)
    startedMs = clock.monotonicMs()
    return isOpen && !response.destroyed
  }
  for (const piece of pieces) {
    const octets = typeof piece === 'string' ? Buffer.from(piece) : piece
    if (octets.length > 0) waiting.push(octets)
    bytes += octets.length
    const isFull = bytes >= writeBytes || clock.monotonicMs() - startedMs > sliceMs
    if (isFull && !(await flush())) return false
  }
  return flush()
}

/** Octets of a whole document, made in slices. */
export async function gatherPieces(pieces: Iterable<Piece>, { clock }: PiecesOptions): Promise<readonly Buffer[]> {
  const gathered: Buffer[] = []
  let startedMs = clock.monotonicMs()
  for (const piece of pieces) {
    if (piece.length > 0) gathered.push(typeof piece === 'string' ? Buffer.from(piece) : piece)
    if (clock.monotonicMs() - startedMs <= sliceMs) continue
    await nextTurn()
    startedMs = clock.monotonicMs()
  }
  return gathered
}

function nextTurn(): Promise<true> {
  return new Promise((resolve) => setImmediate(() => resolve(true)))
}

/** Until the reader has taken what was written. A reader that does not is cut off. */
function drained(response: ServerResponse, clock: Clock, limitMs: number): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => {
    const settle = (isOpen: boolean) => {
      cancel()
      response.off('drain', onDrain)
      response.off('close', onClose)
      resolve(isOpen)
    }
    const onDrain = () => settle(true)
    const onClose = () => settle(false)
    const cancel = clock.after(limitMs, () => response.destroy())
    response.once('drain', onDrain)
    response.once('close', onClose)
  })
}

/** The pieces with `between` between those that are not empty. */
export function* joined(pieces: Iterable<Piece>, between = ','): Generator<Piece> {
  let isFirst = true
  for (const piece of pieces) {
    if (piece.length > 0 && !isFirst) yield between
    if (piece.length > 0) isFirst = false
    yield piece
  }
}
