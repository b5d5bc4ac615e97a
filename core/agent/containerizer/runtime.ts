import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'

/** An OCI runtime, and what it can do on this machine: found out once by trying. */
export interface RuntimeChoice {
  readonly name: 'crun' | 'runc'
  /** Path of the executable. */
  readonly path: string
  /** `none`: it makes no cgroups here (no privilege), so nothing is limited. */
  readonly limits: 'cgroup' | 'none'
}

/** How a command of the runtime ended. */
export interface RuntimeExit {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A container as `list` tells it. */
export interface ListedContainer {
  readonly id: string
  readonly pid: number
  readonly status: string
}

/** Longest that a runtime's own command may take. */
const commandTimeoutMs = 60_000

const searchPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** What the runtime's processes get as environment. */
export const runtimeEnvironment: Readonly<Record<string, string>> = { PATH: searchPath.join(':') }

/** Path of an executable on the usual path; undefined when there is none. */
export function findExecutable(name: string): string | undefined {
  return searchPath.map((dir) => join(dir, name)).find((path) => existsSync(path))
}

/**
 * Arguments that run a container in the foreground. `--keep`: its cgroup must live until the reason of its end is read
 * (crun has no such option: what it can't tell stays untold).
 */
export function runArguments(
  choice: RuntimeChoice,
  paths: { readonly root: string; readonly bundle: string; readonly log: string; readonly pidFile: string },
  containerId: string,
): readonly string[] {
  const keep = choice.name === 'runc' ? ['--keep'] : []
  const groups = choice.name === 'crun' && choice.limits === 'none' ? ['--cgroup-manager', 'disabled'] : []
  const global = ['--root', paths.root, '--log', paths.log, '--log-format', 'json']
  return [
    choice.path,
    ...global,
    ...groups,
    'run',
    ...keep,
    '--bundle',
    paths.bundle,
    '--pid-file',
    paths.pidFile,
    containerId,
  ]
}

/** Runs a short command of the runtime to its end, whatever its status. @throws ERR_AGENT_RUNTIME when it can't be run */
export function runRuntime(
  choice: RuntimeChoice,
  root: string,
  args: readonly string[],
  timeoutMs: number = commandTimeoutMs,
): Promise<RuntimeExit> {
  return new Promise((resolve, reject) => {
    const options = { env: runtimeEnvironment, timeout: timeoutMs, killSignal: 'SIGKILL' } as const
    execFile(choice.path, ['--root', root, ...args], options, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code
      if (typeof status === 'number') return resolve({ status, stdout, stderr })
      const what = `${choice.name} ${args[0] ?? ''}`
      reject(
        new AppError('ERR_AGENT_RUNTIME', `${what} did not end properly: ${errorMessage(error)}`, { cause: error }),
      )
    })
  })
}

/** All containers below `root`, running or not. @throws ERR_AGENT_RUNTIME */
export async function listRuntime(choice: RuntimeChoice, root: string): Promise<readonly ListedContainer[]> {
  const { status, stdout, stderr } = await runRuntime(choice, root, ['list', '--format', 'json'])
  if (status !== 0) throw new AppError('ERR_AGENT_RUNTIME', `${choice.name} list failed: ${stderr.trim()}`)
  const value: unknown = JSON.parse(stdout.trim() === '' ? '[]' : stdout)
  return Array.isArray(value) ? value.flatMap(parseListed) : []
}

/** What the runtime complained of last, from its log. */
export function lastComplaint(logPath: string): string {
  try {
    const last = readFileSync(logPath, 'utf8').trim().split('\n').at(-1) ?? ''
    if (last !== '' && !last.startsWith('{')) return last // of what runs before it
    const entry: unknown = JSON.parse(last)
    if (typeof entry === 'object' && entry !== null && 'msg' in entry) return String(entry.msg)
  } catch {
    // ENOENT or no JSON: it ended without a word
  }
  return 'it gave no reason; see stderr in the sandbox'
}

function parseListed(value: unknown): readonly ListedContainer[] {
  if (typeof value !== 'object' || value === null || !('id' in value) || !('pid' in value)) return []
  const status = 'status' in value ? String(value.status) : ''
  return [{ id: String(value.id), pid: Number(value.pid), status }]
}
