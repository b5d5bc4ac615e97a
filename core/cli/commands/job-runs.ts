import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { agentPaths } from '../../agent/paths.ts'
import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { cell, jobPath, listOf } from './job.ts'
import { requireRoot } from './privilege.ts'
import { targetApi, targetLayout } from './target.ts'

/** Options of `weft job run`. */
export interface RunOptions {
  readonly wait: boolean
}

/** Between two looks at a run that is waited for. */
const pollMs = 250

/** `weft job run ID [--wait]`: with `--wait` the exit status tells the result. */
export async function runJob(globals: GlobalOptions & RunOptions, id: string): Promise<void> {
  const api = targetApi(globals)
  const { body } = await api.send('POST', `${jobPath(id)}/runs`)
  const run = isRecord(body) ? body : {}
  const runId = String(run['id'])
  if (!globals.wait) return print(run, () => runId, globals)
  const last = await waitForRun(api, { id, runId, quiet: globals.json })
  print(last, () => `${runId} ${formatResult(last)}`, globals)
  if (last['status'] !== 'SUCCESS') process.exitCode = 1
}

async function waitForRun(
  api: Api,
  { id, runId, quiet }: { readonly id: string; readonly runId: string; readonly quiet: boolean },
): Promise<Record<string, unknown>> {
  let told = ''
  for (;;) {
    const run = await api.get(`${jobPath(id)}/runs/${runId}`)
    if (!isRecord(run)) throw new AppError('ERR_CLI_REFUSED', `the API told nothing of run ${runId}`)
    const status = String(run['status'])
    if (status === 'SUCCESS' || status === 'FAILED') return run
    if (status !== told && !quiet) process.stderr.write(`${runId} ${status}\n`)
    told = status
    await sleepMs(pollMs)
  }
}

function formatResult({ status, message }: Record<string, unknown>): string {
  return message === undefined ? String(status) : `${String(status)}: ${String(message)}`
}

/** `weft job runs ID`: those that are not over, then those of the history, the newest first. */
export async function listRuns(globals: GlobalOptions, id: string): Promise<void> {
  const runs = await runsOf(targetApi(globals), id)
  const keys = ['id', 'status', 'createdAt', 'completedAt', 'message']
  const rows = () => runs.map((run) => keys.map((key) => cell(run[key])))
  print(runs, () => formatTable(['ID', 'STATUS', 'CREATED', 'COMPLETED', 'WHY'], rows()), globals)
}

async function runsOf(api: Api, id: string): Promise<readonly Record<string, unknown>[]> {
  const job = await api.get(`${jobPath(id)}?embed=activeRuns&embed=history`)
  const record = isRecord(job) ? job : {}
  const history = isRecord(record['history']) ? record['history'] : {}
  const past = (key: string, status: string) =>
    listOf(history[key]).map((run): Record<string, unknown> => ({ ...run, status, completedAt: run['finishedAt'] }))
  const finished = [...past('successfulFinishedRuns', 'SUCCESS'), ...past('failedFinishedRuns', 'FAILED')]
  const newestFirst = finished.toSorted((a, b) => String(b['createdAt']).localeCompare(String(a['createdAt'])))
  return [...listOf(record['activeRuns']), ...newestFirst]
}

/** `weft job stop ID RUN`. */
export async function stopRun(globals: GlobalOptions, id: string, run: string): Promise<void> {
  const path = `${jobPath(id)}/runs/${encodeURIComponent(run)}/actions/stop`
  const { body } = await targetApi(globals).send('POST', path)
  print(body, () => `${run} is stopped`, globals)
}

/** `weft job logs ID [RUN]`: what its tasks wrote, of the last run if none is named, on a simulated host of this machine. */
export async function jobLogs(globals: GlobalOptions, id: string, run: string | undefined): Promise<void> {
  requireRoot('job logs')
  const wanted = run ?? (await lastRun(targetApi(globals), id))
  const taskName = `${id.replaceAll('.', '_')}_${wanted}`.slice(0, sandboxIdLength)
  const agents = targetLayout(globals).hosts.filter(({ kind }) => kind === 'agent')
  const logs = agents.flatMap(({ name: host, directory }) => {
    const { sandboxes } = agentPaths(join(directory, 'agent'))
    const own = existsSync(sandboxes) ? readdirSync(sandboxes).filter((sandbox) => sandbox.startsWith(taskName)) : []
    return own.map((sandbox) => {
      const output = (stream: string) => readOutput(join(sandboxes, sandbox, stream))
      return { run: wanted, host, stdout: output('stdout'), stderr: output('stderr') }
    })
  })
  if (logs.length === 0) {
    throw new AppError('ERR_CLI_NO_TASK', `run ${wanted} of ${id} has written nothing on this machine`)
  }
  print(logs, () => logs.map(({ stdout, stderr }) => `${stdout}${stderr}`.trimEnd()).join('\n'), globals)
}

/** How much of a task's id is in the name of its sandbox. Source: core/agent/container-id.ts */
const sandboxIdLength = 64

async function lastRun(api: Api, id: string): Promise<string> {
  const newest = (await runsOf(api, id)).map((run) => String(run['id'])).toSorted()
  const last = newest.at(-1)
  if (last === undefined) throw new AppError('ERR_CLI_NO_TASK', `${id} has not run yet: weft job run ${id}`)
  return last
}

function readOutput(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
