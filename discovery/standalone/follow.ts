import { type Clock } from '../../core/base/clock.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type LeaderWatch } from './leader.ts'
import { type MasterClient, type MasterStream } from './master.ts'
import { emptyModel, type MesosModel, step } from './mesos.ts'
import { parseEvent, parseState } from './parse-state.ts'
import { makeRecordSplitter } from './record-io.ts'

/** What following a cluster depends on. */
export interface FollowOptions {
  readonly client: MasterClient
  /** Base URLs, tried in this order. */
  readonly masters: readonly string[]
  /** Names the leader before any master does; it is asked first. Absent: the masters are asked who leads. */
  readonly leader?: LeaderWatch
  /** Between two readings of `/state`, where there is no stream. */
  readonly refreshMs: number
  /** Gets every state; soon many one after another. */
  readonly onModel: (model: MesosModel) => void
  readonly clock: Clock
  readonly log: Logger
}

/** Before all masters are tried again. */
const retryMs = 1_000

/** Heartbeats come every 15 s; a stream without a sign of life for so long is broken. */
const silenceMs = 60_000

/** Where `/state` is: now, without the prefix, before Mesos 0.25. */
const statePaths = ['/master/state', '/state', '/master/state.json'] as const

/** Follows the leader until aborted. While no master answers, what was last known stays. */
export async function followMesos(options: FollowOptions, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { clock } = options
  while (!signal.aborted) {
    const another = new AbortController()
    const unwatch = options.leader?.onChange(() => another.abort())
    await followOneByOne(options, { signal: AbortSignal.any([signal, another.signal]) })
    unwatch?.()
    if (!another.signal.aborted) await clock.sleep(retryMs, { signal }).catch(() => undefined)
  }
}

/** Each master as long as it answers; ends when all were tried, or at once when aborted. */
async function followOneByOne(options: FollowOptions, { signal }: { readonly signal: AbortSignal }): Promise<void> {
  const { masters, leader, log } = options
  const first = leader?.current()
  for (const base of new Set([...(first === undefined ? [] : [first]), ...masters])) {
    if (signal.aborted) return
    try {
      await followMaster(base, options, { signal })
    } catch (error) {
      if (!signal.aborted) log.warn({ master: base, reason: errorMessage(error) }, 'lost the Mesos master')
    }
  }
}

/** Returns or throws when it is the leader no more. */
async function followMaster(base: string, options: FollowOptions, { signal }: { readonly signal: AbortSignal }) {
  const broken = new AbortController()
  const both = AbortSignal.any([signal, broken.signal])
  const stream = await options.client.subscribe(base, { signal: both })
  if (stream === undefined) return poll(base, options, { signal })
  options.log.info({ master: stream.from }, "following the master's events")
  await followStream(stream, options, { broken })
}

async function followStream(
  { chunks, from }: MasterStream,
  { onModel, clock, log }: FollowOptions,
  { broken }: { readonly broken: AbortController },
): Promise<void> {
  const split = makeRecordSplitter()
  let model: MesosModel = emptyModel
  let whole = false
  const watch = () =>
    clock.after(silenceMs, () => broken.abort(new AppError('ERR_MESOS_STREAM', `${from} was silent for too long`)))
  let cancel = watch()
  try {
    for await (const chunk of chunks) {
      cancel()
      cancel = watch()
      for (const record of split(chunk)) {
        const event = parseRecord(record, from, log)
        if (event === undefined || event.kind === 'heartbeat') continue
        model = step(model, event)
        whole ||= event.kind === 'whole'
        if (whole) onModel(model)
      }
    }
  } finally {
    cancel()
    broken.abort()
  }
  throw new AppError('ERR_MESOS_STREAM', `${from} ended its stream`)
}

/** A record that makes no sense changes nothing. */
function parseRecord(record: string, from: string, log: Logger) {
  try {
    return parseEvent(JSON.parse(record), from)
  } catch (error) {
    log.warn({ master: from, reason: errorMessage(error) }, 'skipped an event of the master')
    return undefined
  }
}

async function poll(
  base: string,
  { client, refreshMs, onModel, clock, log }: FollowOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  log.info({ master: base, refreshMs }, 'the master has no event stream: reading its state')
  let told = -1
  for (;;) {
    const { model, skipped } = await readState(client, base, { signal })
    if (skipped !== told && skipped > 0) log.warn({ skipped }, 'entries of the state can have no name')
    told = skipped
    onModel(model)
    await clock.sleep(refreshMs, { signal })
  }
}

/** The leader's state: a standby's names the leader, whose own is read then, if it can be reached. */
async function readState(client: MasterClient, base: string, options: { readonly signal: AbortSignal }) {
  const first = await client.get(base, statePaths, options)
  const state = parseState(first.value)
  const { leader } = state.model
  if (leader === undefined || leader === first.from) return state
  try {
    const { protocol } = new URL(base)
    return parseState((await client.get(`${protocol}//${leader}`, statePaths, options)).value)
  } catch (error) {
    if (state.model.tasks.size === 0 && state.model.agents.size === 0) throw error
    return state // the leader has another address for us
  }
}
