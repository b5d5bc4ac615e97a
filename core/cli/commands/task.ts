import { AppError } from '../../base/errors.ts'
import { type Api } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { targetApi } from './target.ts'
import { followLog, printLast, taskLog } from './task-log.ts'

/** Options of `weft task logs`. */
export interface TaskLogOptions {
  readonly follow: boolean
  readonly stderr: boolean
  readonly lines: string
}

type Row = Record<string, unknown>

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
  const log = taskLog(api, await findTask(api, name), globals.stderr ? 'stderr' : 'stdout')
  const { stdout } = process
  const at = await printLast(log, { lines: Number(globals.lines), out: stdout })
  if (globals.follow) await followLog(log, { from: at, out: stdout })
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
