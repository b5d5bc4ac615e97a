import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'

/** How often a followed log is asked for more. */
const followMs = 500

/** Octets looked through for the last lines. */
const tailBytes = 64 * 1024

/** A file that a task writes, as its agent serves it through the master. */
export interface TaskLog {
  readonly api: Api
  readonly agentId: string
  readonly path: string
}

/** Where text of a log goes. */
export interface LogOutput {
  write(text: string): unknown
}

/** The log of a task of `/weft/v1/tasks`. */
export function taskLog(api: Api, { id, agentId }: Record<string, unknown>, stream: 'stdout' | 'stderr'): TaskLog {
  return { api, agentId: String(agentId), path: `/tasks/${String(id)}/${stream}` }
}

/** @returns where the log ended */
export async function printLast(
  log: TaskLog,
  { lines, out }: { readonly lines: number; readonly out: LogOutput },
): Promise<number> {
  const end = (await read(log)).offset
  const from = Math.max(0, end - tailBytes)
  const { data } = await read(log, from)
  const all = data.split('\n')
  const kept = all.slice(Math.max(0, all.length - lines - (data.endsWith('\n') ? 1 : 0)))
  out.write(kept.join('\n'))
  return from + Buffer.byteLength(data)
}

/** Prints what comes after `from`, until the process or the task's agent ends. */
export async function followLog(
  log: TaskLog,
  { from, out }: { readonly from: number; readonly out: LogOutput },
): Promise<never> {
  for (let at = from; ; ) {
    const next = await printFrom(log, at, out)
    if (next === at) await pause(followMs)
    at = next
  }
}

/** A log that is shorter than before was rotated: it is read from its beginning. */
async function printFrom(log: TaskLog, at: number, out: LogOutput): Promise<number> {
  const { data } = await read(log, at)
  out.write(data)
  if (data !== '') return at + Buffer.byteLength(data)
  return (await read(log)).offset < at ? 0 : at
}

async function read(
  { api, agentId, path }: TaskLog,
  offset?: number,
): Promise<{ readonly data: string; readonly offset: number }> {
  const query = new URLSearchParams({ path, ...(offset === undefined ? {} : { offset: String(offset) }) })
  const answer = await api.get(`/agent/${agentId}/files/read?${query}`)
  if (isRecord(answer) && typeof answer['data'] === 'string' && typeof answer['offset'] === 'number') {
    return { data: answer['data'], offset: answer['offset'] }
  }
  throw new AppError('ERR_CLI_REFUSED', `agent ${agentId} did not answer with a part of ${path}`)
}
