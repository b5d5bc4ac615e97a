import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, hasCode } from '../../base/errors.ts'
import { parseAgentId, parseFrameworkId, parseTaskId } from '../../model/ids.ts'
import { type TaskInfo } from '../../model/task.ts'
import { type AgentPaths } from '../paths.ts'
import { type Cgroups } from './cgroup.ts'
import { findExecutable, lastComplaint, type RuntimeChoice, runArguments, runtimeEnvironment } from './runtime.ts'
import { type HostView, ociSpec } from './spec.ts'

/** What a trial needs of the agent. */
export interface Trial {
  readonly paths: AgentPaths
  readonly host: HostView
  readonly cgroups: Cgroups
}

/** Longest that a trial may take on a loaded machine. */
const trialTimeoutMs = 30_000

const trialId = 'weft-trial'

/**
 * The runtime that works here: the one remembered below the state directory, else the first of crun (quicker) and runc
 * that runs a trivial container; with cgroups, else without.
 * @throws ERR_AGENT_NO_RUNTIME saying what to install
 */
export async function chooseRuntime(trial: Trial): Promise<RuntimeChoice> {
  const memory = join(trial.paths.root, 'runtime.json')
  const remembered = readChoice(memory)
  if (remembered !== undefined) return remembered
  const complaints: string[] = []
  for (const candidate of candidates()) {
    const complaint = await tryRuntime(candidate, trial)
    if (complaint === undefined) {
      writeFileSync(memory, JSON.stringify(candidate), { mode: 0o600 })
      return candidate
    }
    complaints.push(`${candidate.name} (limits: ${candidate.limits}): ${complaint}`)
  }
  const found = complaints.length === 0 ? 'neither crun nor runc is installed' : complaints.join('; ')
  const advice = 'install one that works here: `apt-get install runc` or `apt-get install crun`'
  throw new AppError('ERR_AGENT_NO_RUNTIME', `no OCI runtime can run a container: ${found}; ${advice}`)
}

/** What {@link chooseRuntime} remembered; undefined when nothing, or when it was uninstalled. */
export function readChoice(path: string): RuntimeChoice | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    const text = JSON.stringify(value)
    return candidates().find((candidate) => JSON.stringify(candidate) === text)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined
    throw error
  }
}

function candidates(): readonly RuntimeChoice[] {
  return (['cgroup', 'none'] as const).flatMap((limits) =>
    (['crun', 'runc'] as const).flatMap((name) => {
      const path = findExecutable(name)
      return path === undefined ? [] : [{ name, path, limits }]
    }),
  )
}

async function tryRuntime(choice: RuntimeChoice, { paths, host, cgroups }: Trial): Promise<string | undefined> {
  const root = join(paths.root, 'trial')
  const files = { root: join(root, 'runtime'), bundle: root, log: join(root, 'log'), pidFile: join(root, 'pid') }
  mkdirSync(join(root, 'sandbox'), { recursive: true })
  try {
    const spec = ociSpec({
      containerId: trialId,
      frameworkId: parseFrameworkId('weft'),
      info: trialTask,
      host,
      user: { uid: 0, gid: 0 },
      rootfs: paths.rootfs,
      sandbox: join(root, 'sandbox'),
      hostname: 'weft',
      netns: '/proc/self/ns/net',
      files: [],
      cgroupPath: cgroups.pathOf(trialId),
      limits: choice.limits,
    })
    writeFileSync(join(root, 'config.json'), JSON.stringify(spec))
    const failure = await runTrial(runArguments(choice, files, trialId))
    if (existsSync(join(files.root, trialId)))
      await runTrial([choice.path, '--root', files.root, 'delete', '--force', trialId])
    return failure === undefined ? undefined : `${failure}: ${lastComplaint(files.log)}`
  } finally {
    await cgroups.remove(trialId)
    cgroups.removeParent()
    rmSync(root, { recursive: true, force: true })
  }
}

/** @returns how it failed; undefined when it succeeded */
function runTrial([program = '', ...args]: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { env: runtimeEnvironment, timeout: trialTimeoutMs, killSignal: 'SIGKILL' } as const
    execFile(program, args, options, (error) => {
      resolve(error === null ? undefined : `ended with ${error.code ?? error.signal}`)
    })
  })
}

const trialTask: TaskInfo = {
  taskId: parseTaskId(trialId),
  name: trialId,
  agentId: parseAgentId('weft'),
  resources: { cpuMillis: 100, memMb: 64, diskMb: 0, ports: [] },
  command: { shell: false, value: '/bin/true', arguments: [], env: {} },
  networks: [],
  killGraceMs: 0,
  labels: {},
}
