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
    await Promise.all(ended)
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
  const endpoints = await ready(threads, options.log, close)
  for (const thread of all) {
    thread.on('error', failed)
    thread.on('exit', () => failed(new AppError('ERR_DNS_THREAD', 'a thread of the DNS server ended')))
  }
  threads.general.on('message', (report: Report) => {
    if (report.kind === 'applied') settle(waiting, report.id)
  })
  let id = 0
  return {
    endpoints,
    stats: options.stats,
    close,
    apply: async (change) => {
      if (closing !== undefined) throw new AppError('ERR_DNS_THREAD', 'the DNS server was closed')
      await sendChange(threads.general, { change: packChange(change), id: ++id, waiting })
    },
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
async function ready(threads: Threads, log: Logger, close: () => Promise<void>): Promise<DnsThreads['endpoints']> {
  try {
    const report = await firstReport(threads, log)
    if (report.kind === 'ready') return report.endpoints
    if (report.kind !== 'failed') throw new AppError('ERR_DNS_THREAD', `unexpected ${report.kind} from a thread`)
    throw new AppError(report.code, report.message, { details: { taken: report.taken } })
  } catch (cause) {
    await close()
    if (cause instanceof AppError) throw cause
    throw new AppError('ERR_DNS_THREAD', 'the threads of the DNS server did not start', { cause })
  }
}

function firstReport({ general, hot }: Threads, log: Logger): Promise<Report> {
  return new Promise((resolve, reject) => {
    for (const thread of [general, ...hot]) {
      thread.once('error', reject)
      thread.once('exit', () => reject(new AppError('ERR_DNS_THREAD', 'a thread of the DNS server ended at its start')))
    }
    general.on('message', (report: Report) => {
      if (report.kind === 'log') log[report.level](report.fields, report.text)
      else resolve(report)
    })
  })
}
