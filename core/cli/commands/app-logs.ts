import { AppError, errorMessage } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { readEvents } from '../deploying/listen.ts'
import { rowsOf } from '../deploying/progress.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { requireApp } from './app.ts'
import { targetApi } from './target.ts'
import { type TaskLogOptions } from './task.ts'
import { followLog, type LogOutput, printLast, taskLog } from './task-log.ts'

/** `weft app logs ID [-f]`: of all its tasks; each line begins with the task's id when there are several. */
export async function appLogs(options: GlobalOptions & TaskLogOptions, id: string): Promise<void> {
  if (!/^\d{1,6}$/.test(options.lines)) throw new AppError('ERR_CLI_USAGE', '--lines takes a number, at most 999999')
  const api = targetApi(options)
  const ids = new Set(rowsOf((await requireApp(api, id))['tasks']).map((task) => task['id']))
  const tasks = (await recordsOf(api, '/weft/v1/tasks', 'tasks')).filter((task) => ids.has(task['id']))
  if (tasks.length === 0) throw new AppError('ERR_CLI_NO_TASK', `${id} has no task now: weft queue tells why`)
  const logs = tasks.map((task) => ({
    log: taskLog(api, task, options.stderr ? 'stderr' : 'stdout'),
    out: tasks.length === 1 ? process.stdout : prefixed(String(task['id']), process.stdout),
  }))
  const ends: number[] = []
  for (const { log, out } of logs) ends.push(await printLast(log, { lines: Number(options.lines), out }))
  if (!options.follow) return
  const following = logs.map(async ({ log, out }, i) => {
    try {
      await followLog(log, { from: ends[i] ?? 0, out })
    } catch (error) {
      process.stderr.write(`weft: ${log.path}: ${errorMessage(error)}\n`) // its task is over; the others go on
    }
  })
  await Promise.all(following)
}

/** Whole lines, each with the name before it; what is not a whole line yet waits. */
function prefixed(name: string, out: LogOutput): LogOutput {
  let rest = ''
  return {
    write: (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) out.write(`${name}: ${line}\n`)
    },
  }
}

/** `weft app events [ID]`: as they come, until interrupted. */
export async function appEvents(globals: GlobalOptions, id: string | undefined): Promise<void> {
  const api = targetApi(globals)
  if (id !== undefined) await requireApp(api, id)
  const { signal } = new AbortController()
  for await (const event of readEvents(api, [], { signal })) {
    const isOther = id !== undefined && !concerns(event, id)
    if (event['eventType'] === undefined || isOther) continue
    process.stdout.write(`${globals.json ? JSON.stringify(event) : formatEvent(event)}\n`)
  }
}

function concerns(event: Record<string, unknown>, id: string): boolean {
  const affected = Array.isArray(event['affectedApps']) ? event['affectedApps'] : []
  const definition = isRecord(event['appDefinition']) ? event['appDefinition']['id'] : undefined
  const path = id.startsWith('/') ? id : `/${id}`
  return event['appId'] === path || event['runSpecId'] === path || definition === path || affected.includes(path)
}

/** Fields that say most, in this order. */
const shownFields = ['id', 'appId', 'taskId', 'instanceId', 'taskStatus', 'condition', 'host', 'reason', 'message']

function formatEvent(event: Record<string, unknown>): string {
  const facts = shownFields.flatMap((field) => {
    const value = event[field]
    return typeof value === 'string' && value !== '' ? [`${field}=${value}`] : []
  })
  const affected = Array.isArray(event['affectedApps']) ? [`apps=${event['affectedApps'].join(',')}`] : []
  return [event['timestamp'], event['eventType'], ...facts, ...affected].map(String).join('  ')
}
