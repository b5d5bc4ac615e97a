import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type AgentPaths, containerPaths } from '../paths.ts'
import { signalProcess } from './process.ts'
import { type RuntimeChoice, runtimeEnvironment } from './runtime.ts'

/**
 * Runs a command in a container to its end, its output dropped.
 * @returns its exit status @throws AbortError when aborted (the command is killed), ERR_AGENT_EXEC when it can't be run
 */
export function execInside(
  { runtime, paths }: { readonly runtime: RuntimeChoice; readonly paths: AgentPaths },
  { containerId, argv }: { readonly containerId: string; readonly argv: readonly string[] },
  { signal }: { readonly signal: AbortSignal },
): Promise<number> {
  const pidFile = join(containerPaths(paths, containerId).root, `exec-${randomBytes(4).toString('hex')}.pid`)
  const args = ['--root', paths.runtime, 'exec', '--pid-file', pidFile, containerId, ...argv]
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    // The runtime's own end would leave the command behind: the command is killed, and the runtime ends with it.
    const abort = () => {
      if (!killByFile(pidFile)) child.kill('SIGKILL')
    }
    const child = execFile(runtime.path, args, { env: runtimeEnvironment }, (error) => {
      signal.removeEventListener('abort', abort)
      rmSync(pidFile, { force: true })
      if (signal.aborted) return reject(signal.reason)
      const status = error === null ? 0 : error.code
      if (typeof status === 'number') return resolve(status)
      const cause = error ?? undefined
      reject(new AppError('ERR_AGENT_EXEC', `can't run a command in ${containerId}: ${errorMessage(error)}`, { cause }))
    })
    signal.addEventListener('abort', abort)
  })
}

function killByFile(pidFile: string): boolean {
  try {
    const pid = Number(readFileSync(pidFile, 'utf8'))
    if (!(pid > 1)) return false
    signalProcess(pid, 'SIGKILL')
    return true
  } catch {
    return false // ENOENT: it has not started
  }
}
