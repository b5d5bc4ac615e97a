import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { readDefinitionFile } from '../definition-file.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'

/** Options of `weft job remove`. */
export interface RemoveJobOptions {
  readonly stop: boolean
}

/** Options of `weft job schedule`. */
export interface ScheduleOptions {
  readonly id: string
  readonly timezone: string
  readonly deadline: string
  readonly forbid: boolean
  readonly disable: boolean
  readonly remove: boolean
}

/** `weft job add FILE`: each job of the file, with the `schedules` in it; those that exist are replaced. */
export async function addJob(globals: GlobalOptions, file: string): Promise<void> {
  const api = targetApi(globals)
  const jobs = readDefinitionFile(file).flatMap(({ value }): readonly unknown[] =>
    Array.isArray(value) ? value : [value],
  )
  const answers: { readonly id: string; readonly what: string }[] = []
  for (const job of jobs) answers.push(await putJob(api, job))
  print(answers, () => answers.map(({ id, what }) => `${id} ${what}`).join('\n'), globals)
}

async function putJob(api: Api, job: unknown): Promise<{ readonly id: string; readonly what: string }> {
  const id = isRecord(job) && typeof job['id'] === 'string' ? job['id'] : ''
  const exists = id !== '' && (await api.request('GET', jobPath(id))).status === 200
  if (!exists) {
    await api.send('POST', '/v0/scheduled-jobs', job)
    return { id, what: 'added' }
  }
  // Without schedules in the file those that there are stay.
  const hasSchedules = isRecord(job) && job['schedules'] !== undefined
  const path = hasSchedules ? `/v0/scheduled-jobs/${encodeURIComponent(id)}` : jobPath(id)
  await api.send('PUT', path, job)
  return { id, what: 'changed' }
}

/** `weft job list`. */
export async function listJobs(globals: GlobalOptions): Promise<void> {
  const query = 'embed=activeRuns&embed=schedules&embed=historySummary'
  const jobs = listOf(await targetApi(globals).get(`/v1/jobs?${query}`))
  const head = ['ID', 'ACTIVE', 'SUCCESSES', 'FAILURES', 'LAST SUCCESS', 'NEXT RUN']
  print(jobs, () => formatTable(head, jobs.map(jobRow)), globals)
}

function jobRow(job: Record<string, unknown>): readonly string[] {
  const history = isRecord(job['historySummary']) ? job['historySummary'] : {}
  const next = listOf(job['schedules']).flatMap(({ nextRunAt }) => (typeof nextRunAt === 'string' ? [nextRunAt] : []))
  const active = listOf(job['activeRuns']).length
  const { successCount, failureCount, lastSuccessAt } = history
  return [job['id'], active, successCount, failureCount, lastSuccessAt, next.toSorted()[0]].map(cell)
}

/** `weft job show ID`. */
export async function showJob(globals: GlobalOptions, id: string): Promise<void> {
  const query = 'embed=activeRuns&embed=schedules&embed=history'
  const job = await targetApi(globals).get(`${jobPath(id)}?${query}`)
  print(job, () => JSON.stringify(job, undefined, 2), globals)
}

/** `weft job remove ID`. */
export async function removeJob(globals: GlobalOptions & RemoveJobOptions, id: string): Promise<void> {
  const { body } = await targetApi(globals).send('DELETE', `${jobPath(id)}?stopCurrentJobRuns=${globals.stop}`)
  print(body, () => `${id} removed`, globals)
}

/** `weft job schedule ID [CRON]`: sets one schedule; without a pattern: shows all of them. */
export async function scheduleJob(
  globals: GlobalOptions & ScheduleOptions,
  id: string,
  cron: string | undefined,
): Promise<void> {
  const api = targetApi(globals)
  const path = `${jobPath(id)}/schedules`
  const one = `${path}/${encodeURIComponent(globals.id)}`
  if (globals.remove) {
    await api.send('DELETE', one)
    print({ id: globals.id }, () => `schedule ${globals.id} removed`, globals)
    return
  }
  if (cron !== undefined) await setSchedule(api, { path, one, body: scheduleBody(globals, cron) })
  const schedules = listOf(await api.get(path))
  const head = ['ID', 'CRON', 'TIMEZONE', 'ENABLED', 'CONCURRENCY', 'NEXT RUN']
  const keys = ['id', 'cron', 'timezone', 'enabled', 'concurrencyPolicy', 'nextRunAt']
  const rows = () => schedules.map((schedule) => keys.map((key) => cell(schedule[key])))
  print(schedules, () => formatTable(head, rows()), globals)
}

async function setSchedule(
  api: Api,
  { path, one, body }: { readonly path: string; readonly one: string; readonly body: unknown },
): Promise<void> {
  const exists = (await api.request('GET', one)).status === 200
  if (exists) await api.send('PUT', one, body)
  else await api.send('POST', path, body)
}

function scheduleBody({ id, timezone, deadline, forbid, disable }: ScheduleOptions, cron: string): unknown {
  if (!/^\d{1,8}$/.test(deadline))
    throw new AppError('ERR_CLI_USAGE', `--deadline "${deadline}" is no number of seconds`)
  const concurrencyPolicy = forbid ? 'FORBID' : 'ALLOW'
  return { id, cron, timezone, startingDeadlineSeconds: Number(deadline), concurrencyPolicy, enabled: !disable }
}

/** Where the API has a job. @throws ERR_CLI_USAGE */
export function jobPath(id: string): string {
  if (id === '') throw new AppError('ERR_CLI_USAGE', 'a job id is like prod.email.summary')
  return `/v1/jobs/${encodeURIComponent(id)}`
}

/** The objects of a JSON array; none for anything else. */
export function listOf(value: unknown): readonly Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

/** A cell of a table. */
export function cell(value: unknown): string {
  return value === undefined || value === null ? '-' : String(value)
}
