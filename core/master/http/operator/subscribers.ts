import { type ServerResponse } from 'node:http'
import { encodeRecord } from '../../../api/mesos/record-io.ts'
import { heartbeatEvent, heartbeatSeconds, maxQueuedBytes } from '../../../api/mesos/record-stream.ts'
import { type MasterContext } from '../../context.ts'
import { gatherPieces, type Piece, sendPieces } from '../state/pieces.ts'
import { type StateView } from '../state/view.ts'
import { formatChange } from './events.ts'
import { getState } from './snapshot.ts'

/** Snapshots that are on their way to their readers at the same time: each holds its octets until it is read. */
const mostSnapshots = 4

/** What the event stream needs. */
export interface SubscribersOptions {
  readonly context: MasterContext
  /** The cluster now, and what is told of the master. */
  readonly view: () => StateView
  /** Octets of events that may wait for one subscriber; 16 MiB when absent. */
  readonly maxQueued?: number
  /** A reader that takes nothing of its snapshot for so long is cut off. */
  readonly stallLimitMs?: number
}

/** Operators that follow the cluster. */
export interface OperatorSubscribers {
  /** False when too many others are being told the whole now. */
  subscribe(response: ServerResponse): boolean
  count(): number
  close(): void
}

interface Subscriber {
  readonly response: ServerResponse
  /** Events that wait for the end of the snapshot; undefined when that was sent. */
  waiting: Buffer[] | undefined
  waitingBytes: number
}

/**
 * Opens it with no subscriber. Each gets the whole state as of one moment, then every change after it. One that does not read
 * is cut off when its share of memory is full: it subscribes anew. The others, and the master, don't notice.
 */
export function openOperatorSubscribers(options: SubscribersOptions): OperatorSubscribers {
  const { context, view, maxQueued = maxQueuedBytes } = options
  const all = new Set<Subscriber>()
  const send = (subscriber: Subscriber, record: Buffer) => {
    const { response, waiting } = subscriber
    const bytes = waiting === undefined ? response.writableLength : subscriber.waitingBytes
    if (response.destroyed) return
    if (bytes + record.length > maxQueued) {
      context.log.warn({ bytes }, 'an operator reads too slowly, its subscription was ended')
      response.destroy()
    } else if (waiting === undefined) response.write(record)
    else {
      waiting.push(record)
      subscriber.waitingBytes += record.length
    }
  }
  let about: StateView['about'] | undefined
  const stopWatching = context.changes.watch((change) => {
    if (all.size === 0 || about === undefined) return
    const event = formatChange(context, about, change)
    if (event === undefined) return
    const record = encodeRecord(event)
    for (const subscriber of all) send(subscriber, record)
  })
  const serve = async (subscriber: Subscriber, snapshot: StateView) => {
    const { response } = subscriber
    const cancel = beat(context, () => send(subscriber, encodeRecord(heartbeatEvent)))
    response.once('close', () => {
      cancel()
      all.delete(subscriber)
    })
    const pieces = await gatherPieces(subscribedRecord(snapshot), context)
    const octets = pieces.reduce((sum, { length }) => sum + length, 0)
    const limit = options.stallLimitMs
    const sending = { clock: context.clock, ...(limit === undefined ? {} : { stallLimitMs: limit }) }
    if (!(await sendPieces(response, [`${octets}\n`, ...pieces], sending))) return
    for (const record of subscriber.waiting ?? []) response.write(record)
    subscriber.waiting = undefined
  }
  return {
    subscribe: (response) => {
      const busy = [...all].filter(({ waiting }) => waiting !== undefined).length
      if (busy >= mostSnapshots) return false
      const subscriber: Subscriber = { response, waiting: [], waitingBytes: 0 }
      response.on('error', () => undefined) // a reset is a close too
      response.writeHead(200, { 'content-type': 'application/json' })
      response.flushHeaders()
      const snapshot = view()
      about = snapshot.about
      all.add(subscriber)
      void serve(subscriber, snapshot)
      return true
    },
    count: () => all.size,
    close: () => {
      stopWatching()
      for (const { response } of all) response.destroy()
    },
  }
}

function* subscribedRecord(view: StateView): Generator<Piece> {
  yield `{"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":${heartbeatSeconds},"get_state":`
  yield* getState(view)
  yield '}}'
}

function beat({ clock }: MasterContext, send: () => void): () => void {
  let cancel = () => {}
  const again = () => {
    cancel = clock.after(heartbeatSeconds * 1000, () => {
      send()
      again()
    })
  }
  again()
  return () => cancel()
}
