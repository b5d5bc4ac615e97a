import { setTimeout as pause } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { targetApi } from './target.ts'

/** Options of `weft task logs`. */
export interface TaskLogOptions {
  readonly follow: boolean
  readonly stderr: boolean
  readonly lines: string
}

type Row = Record<string, unknown>

/** How often a followed log is asked for more. */
const followMs = 500

/** Octets looked through for the last lines. */
const tailBytes = 64 * 1024

/** `weft task show TASK`. */
export async function showTask(globals: GlobalOptions, name: string): Promise<void> {
  const task = await findTask(targetApi(globals), name)
  const lines = () => Object.entries(task).map(([key, value]) => `${key.padEnd(14)} ${formatValue(value)}`)
  print(task, () => lines().join('\n'), globals)
}

/** `weft task logs TASK [-f] [--stderr] [--lines N]`: by the task's agent, through the master. */
export async function taskLogs(globals: GlobalOptions & TaskLogOptions, name: string): Promise<void> {
  const api = targetApi(globals)
  if (!/^\d{1,6}$/.test(globals.lines)) throw new AppError('ERR_CLI_USAGE', '--lines takes a number, at most 999999')
  const { id, agentId } = await findTask(api, name)
  const log = { api, agentId: String(agentId), path: `/tasks/${String(id)}/${globals.stderr ? 'stderr' : 'stdout'}` }
  let at = await printLast(log, Number(globals.lines))
  while (globals.follow) {
    const next = await printFrom(log, at)
    if (next === at) await pause(followMs)
    at = next
  }
}

interface Log {
  readonly api: Api
  readonly agentId: string
  readonly path: string
}

/** @returns where the log ended */
async function printLast(log: Log, lines: number): Promise<number> {
  const end = (await read(log)).offset
  const from = Math.max(0, end - tailBytes)
  const { data } = await read(log, from)
  const all = data.split('\n')
  const kept = all.slice(Math.max(0, all.length - lines - (data.endsWith('\n') ? 1 : 0)))
  process.stdout.write(kept.join('\n'))
  return from + Buffer.byteLength(data)
}

/** A log that is shorter than before was rotated: it is read from its beginning. */
async function printFrom(log: Log, at: number): Promise<number> {
  const { data } = await read(log, at)
  process.stdout.write(data)
  if (data !== '') return at + Buffer.byteLength(data)
  return (await read(log)).offset < at ? 0 : at
}

async function read(
  { api, agentId, path }: Log,
  offset?: number,
): Promise<{ readonly data: string; readonly offset: number }> {
  const query = new URLSearchParams({ path, ...(offset === undefined ? {} : { offset: String(offset) }) })
  const answer = await api.get(`/agent/${agentId}/files/read?${query}`)
  if (isRecord(answer) && typeof answer['data'] === 'string' && typeof answer['offset'] === 'number') {
    return { data: answer['data'], offset: answer['offset'] }
  }
  throw new AppError('ERR_CLI_REFUSED', `agent ${agentId} did not answer with a part of ${path}`)
}

/** `weft task kill TASK`: of an app; a new instance takes its place. */
export async function killTask(globals: GlobalOptions, name: string): Promise<void> {
  const api = targetApi(globals)
  const { id } = await findTask(api, name)
  await api.send('POST', '/v2/tasks/delete', { ids: [id] })
  print({ killed: id }, () => `${String(id)} is being killed`, globals)
}

/**
 * By id, or by the beginning of an id that no other task has; `/app` stands for its tasks.
 * @throws ERR_CLI_NO_TASK, ERR_CLI_AMBIGUOUS naming them
 */
async function findTask(api: Api, name: string): Promise<Row> {
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  const exact = tasks.find(({ id }) => id === name)
  if (exact !== undefined) return exact
  const beginning = name.replace(/^\//, '').replaceAll('/', '_')
  const matching = tasks.filter(({ id }) => String(id).startsWith(beginning))
  if (matching.length === 1 && matching[0] !== undefined) return matching[0]
  if (matching.length === 0) throw new AppError('ERR_CLI_NO_TASK', `no task "${name}": see \`weft task list\``)
  const ids = matching.map(({ id }) => `\n  ${String(id)}`).join('')
  throw new AppError('ERR_CLI_AMBIGUOUS', `"${name}" is the beginning of several tasks:${ids}`)
}

function formatValue(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
