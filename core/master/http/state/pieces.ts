import { type ServerResponse } from 'node:http'
import { type Clock } from '../../../base/clock.ts'

/**
 * A part of a document, in ASCII; an empty one only says that time has passed. Text and not octets: an octet buffer for each
 * agent made V8 collect garbage for seconds.
 */
export type Piece = string

/** JSON in ASCII: its length is its octets. */
export function toJson(value: object): string {
  const json = JSON.stringify(value)
  return /[^ -~]/.test(json) ? json.replace(/[^ -~]/g, escapeUnit) : json
}

/** One UTF-16 unit, as JSON may write it. */
function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

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
  // One buffer for the whole document: each write waits until the one before has left it.
  const buffer = Buffer.allocUnsafe(writeBytes)
  let bytes = 0
  let startedMs = clock.monotonicMs()
  const flush = async () => {
    const isOpen =
      bytes === 0 ? await nextTurn() : await written(response, buffer.subarray(0, bytes), { clock, stallLimitMs })
    bytes = 0
    startedMs = clock.monotonicMs()
    return isOpen && !response.destroyed
  }
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const count = buffer.write(at === 0 ? piece : piece.slice(at), bytes, 'latin1')
      at += count
      bytes += count
      if (bytes === writeBytes && !(await flush())) return false
    }
    if (clock.monotonicMs() - startedMs > sliceMs && !(await flush())) return false
  }
  return flush()
}

/** A whole document, made in slices. */
export async function gatherPieces(pieces: Iterable<Piece>, { clock }: PiecesOptions): Promise<readonly string[]> {
  const gathered: string[] = []
  let startedMs = clock.monotonicMs()
  for (const piece of pieces) {
    if (piece.length > 0) gathered.push(piece)
    if (clock.monotonicMs() - startedMs <= sliceMs) continue
    await nextTurn()
    startedMs = clock.monotonicMs()
  }
  return gathered
}

function nextTurn(): Promise<true> {
  return new Promise((resolve) => setImmediate(() => resolve(true)))
}

/** Until the octets have left their buffer. A reader that does not take them is cut off. */
function written(
  response: ServerResponse,
  octets: Buffer,
  { clock, stallLimitMs }: Required<PiecesOptions>,
): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => {
    const settle = (isOpen: boolean) => {
      cancel()
      response.off('close', onClose)
      resolve(isOpen)
    }
    const onClose = () => settle(false)
    const cancel = clock.after(stallLimitMs, () => response.destroy())
    response.once('close', onClose)
    response.write(octets, (error) => settle(error === undefined || error === null))
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
