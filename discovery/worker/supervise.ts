import { setTimeout as sleepMs } from 'node:timers/promises'
import { type Worker } from 'node:worker_threads'
import { AppError } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { packChange, type PackedChange } from '../server/packed.ts'
import { type DnsThreads } from './open.ts'
import { type Order, type Report } from './messages.ts'
import { type ThreadStats } from './stats.ts'

/** Threads that belong together. */
export interface Threads {
  readonly general: Worker
  readonly hot: readonly Worker[]
  /** Tells the answering threads to end. */
  readonly stop: () => void
  /** Closes what they used; called when all have ended. */
  readonly release: () => void
}

interface SuperviseOptions {
  readonly log: Logger
  readonly stats: readonly ThreadStats[]
  readonly onFailure: (error: unknown) => void
  /** Until they answer; absent: 20 s, as a loaded machine needs some. Ports are bound meanwhile, and nobody answers. */
  readonly startLimitMs?: number
}

/**
 * Waits until they answer, and watches them. @throws ERR_DNS_LISTEN (`details.taken`: another port may be free),
 * ERR_DNS_THREAD; all have ended then
 */
export async function supervise(threads: Threads, options: SuperviseOptions): Promise<DnsThreads> {
  const all = [threads.general, ...threads.hot]
  const ended = all.map((thread) => new Promise((resolve) => thread.once('exit', resolve)))
  const waiting = new Map<number, Waiting>()
  let closing: Promise<void> | undefined
  const end = async () => {
    threads.stop()
    send(threads.general, { kind: 'close' })
    await endAll(all, Promise.all(ended))
    fail(waiting, new AppError('ERR_DNS_THREAD', 'the DNS server was closed'))
    threads.release()
  }
  const close = () => {
    closing ??= end()
    return closing
  }
  const failed = (error: unknown) => {
    if (closing !== undefined) return
    fail(waiting, error)
    options.onFailure(error)
  }
  const endpoints = await ready(threads, options, close)
  for (const thread of all) {
    thread.on('error', failed)
    thread.on('exit', () => failed(new AppError('ERR_DNS_THREAD', 'a thread of the DNS server ended')))
  }
  threads.general.on('message', (report: Report) => {
    if (report.kind === 'applied') settle(waiting, report.id)
  })
  let id = 0
  const applyPacked = async (change: PackedChange) => {
    if (closing !== undefined) throw new AppError('ERR_DNS_THREAD', 'the DNS server was closed')
    await sendChange(threads.general, { change, id: ++id, waiting })
  }
  return {
    endpoints,
    stats: options.stats,
    close,
    applying: () => waiting.size,
    apply: (change) => applyPacked(packChange(change)),
    applyPacked,
  }
}

/** How long threads may take to end by themselves; then they are ended, and one that even so does not end stays. */
const endLimitMs = 2_000

async function endAll(all: readonly Worker[], ended: Promise<unknown>): Promise<void> {
  if (await within(endLimitMs, ended)) return
  if (await within(endLimitMs, Promise.all([...all.map((thread) => thread.terminate()), ended]))) return
  throw new AppError('ERR_DNS_THREAD', 'a thread of the DNS server does not end: end the process')
}

/** @returns false when the time is over first */
async function within(limitMs: number, done: Promise<unknown>): Promise<boolean> {
  const late = new AbortController()
  const timeOver = sleepMs(limitMs, false, { signal: late.signal }).catch(() => false) // ABORT_ERR: it was done in time
  try {
    return await Promise.race([done.then(() => true), timeOver])
  } finally {
    late.abort()
  }
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

function send(thread: Worker, order: Order): void {
  thread.postMessage(order)
}

function sendChange(
  thread: Worker,
  { change, id, waiting }: { change: PackedChange; id: number; waiting: Map<number, Waiting> },
): Promise<void> {
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject })
    send(thread, { kind: 'change', id, change })
  })
}

function settle(waiting: Map<number, Waiting>, id: number): void {
  waiting.get(id)?.resolve()
  waiting.delete(id)
}

function fail(waiting: Map<number, Waiting>, reason: unknown): void {
  for (const { reject } of waiting.values()) reject(reason)
  waiting.clear()
}

/** Where they answer, when all do. Log lines go on coming afterwards. */
async function ready(
  threads: Threads,
  options: SuperviseOptions,
  close: () => Promise<void>,
): Promise<DnsThreads['endpoints']> {
  try {
    const report = await firstReport(threads, options)
    if (report === undefined)
      throw new AppError('ERR_DNS_THREAD', 'the DNS server does not start', { details: { late: true } })
    if (report.kind === 'ready') return report.endpoints
    if (report.kind !== 'failed') throw new AppError('ERR_DNS_THREAD', `unexpected ${report.kind} from a thread`)
    throw new AppError(report.code, report.message, { details: { taken: report.taken } })
  } catch (cause) {
    await close()
    if (cause instanceof AppError) throw cause
    throw new AppError('ERR_DNS_THREAD', 'the threads of the DNS server did not start', { cause })
  }
}

const defaultStartLimitMs = 20_000

/** `undefined`: none came in time. */
function firstReport(
  { general, hot }: Threads,
  { log, startLimitMs = defaultStartLimitMs }: SuperviseOptions,
): Promise<Report | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, startLimitMs, undefined)
    timer.unref()
    for (const thread of [general, ...hot]) {
      thread.once('error', reject)
      thread.once('exit', () => reject(new AppError('ERR_DNS_THREAD', 'a thread of the DNS server ended at its start')))
    }
    general.on('message', (report: Report) => {
      if (report.kind === 'log') return log[report.level](report.fields, report.text)
      clearTimeout(timer)
      resolve(report)
    })
  })
}
