import { type ServerResponse } from 'node:http'
import { type Clock } from '../../base/clock.ts'
import { encodeRecord } from './record-io.ts'

/** How often a subscriber hears something. Source: mesos, src/master/constants.hpp, DEFAULT_HEARTBEAT_INTERVAL. */
export const heartbeatSeconds = 15

/** The record that says only that the other side lives. */
export const heartbeatEvent = { type: 'HEARTBEAT' } as const

/** Octets that may wait for a subscriber that does not read. */
export const maxQueuedBytes = 16 * 1024 * 1024

/** A subscriber's half of a connection: records go out, one HTTP chunk each. */
export interface RecordStream {
  /** Dropped when the stream is over. */
  send(record: object): void
  /** Ends it after what was sent. */
  end(): void
}

/** What a stream needs. */
export interface StreamOptions {
  readonly clock: Clock
  /** Beyond it the subscriber is cut off: it subscribes anew and is told what counts then. */
  readonly maxQueued?: number
  /** The connection is over, whoever ended it; called once. */
  readonly onClose: (why: 'closed' | 'too-slow') => void
}

/**
 * Answers 200 with a stream of records, and a heartbeat now and then.
 * Each record is one write, so that it is one chunk: npm's mesos-framework relies on it.
 */
export function openRecordStream(
  response: ServerResponse,
  headers: Readonly<Record<string, string>>,
  { clock, maxQueued = maxQueuedBytes, onClose }: StreamOptions,
): RecordStream {
  let why: 'closed' | 'too-slow' = 'closed'
  let cancel = () => {}
  response.writeHead(200, { 'Content-Type': 'application/json', ...headers })
  response.flushHeaders()
  const send = (record: object) => {
    if (response.writableEnded || response.destroyed) return
    if (response.writableLength <= maxQueued) {
      response.write(encodeRecord(record))
      return
    }
    why = 'too-slow'
    response.destroy()
  }
  const beat = () => {
    cancel = clock.after(heartbeatSeconds * 1_000, () => {
      send(heartbeatEvent)
      beat()
    })
  }
  beat()
  // A reset is a close too; without a listener it would end the process.
  response.on('error', () => undefined)
  response.once('close', () => {
    cancel()
    onClose(why)
  })
  return { send, end: () => response.end() }
}
