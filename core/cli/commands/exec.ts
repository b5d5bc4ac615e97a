import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { containerExecCommand, listContainers } from '../../agent/exec.ts'
import { AppError } from '../../base/errors.ts'
import { isTerminal } from '../../model/task.ts'
import { type GlobalOptions } from '../program.ts'
import { type ClusterLayout, type HostLayout, netnsPath } from '../up/layout.ts'
import { hostResolvConf } from '../up/resolv.ts'
import { requireRoot } from './privilege.ts'
import { targetLayout } from './target.ts'

/** `weft exec HOST|TASK -- command…`: the command's own streams and exit status. */
export async function exec(globals: GlobalOptions, where: string, command: readonly string[]): Promise<void> {
  requireRoot('exec')
  const [program, ...args] = await execArgv(targetLayout(globals), where, command)
  const child = spawn(program, args, { stdio: 'inherit' })
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)))
  })
}

/** What to run for `weft exec`: on a host in its namespace, in a task by the container runtime. */
export async function execArgv(
  layout: ClusterLayout,
  where: string,
  command: readonly string[],
): Promise<readonly [string, ...string[]]> {
  const host = layout.hosts.find(({ name }) => name === where)
  if (host !== undefined) return hostArgv(host, command)
  const found = await findTask(layout, where)
  const [program, ...args] = await containerExecCommand(found.stateDir, found.taskId, { argv: command })
  if (program === undefined) throw new AppError('ERR_CLI_EXEC', `task "${where}" has no container to run a command in`)
  return [program, ...args]
}

/** A host sees the cluster's names through a resolv.conf of its own, as `ip netns exec` gives one from /etc/netns. */
function hostArgv(host: HostLayout, command: readonly string[]): readonly [string, ...string[]] {
  const script = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"'
  const inside = ['unshare', '--mount', 'sh', '-c', script, 'weft-exec', hostResolvConf(host), ...command]
  return ['nsenter', `--net=${netnsPath(host.netns)}`, ...inside]
}

interface FoundTask {
  readonly stateDir: string
  readonly taskId: string
}

/** By id, by the beginning of an id, or by an app's id: its first task then. @throws ERR_CLI_NO_TASK, ERR_CLI_AMBIGUOUS */
async function findTask(layout: ClusterLayout, where: string): Promise<FoundTask> {
  const prefix = where.replace(/^\//, '').replaceAll('/', '_')
  const all = await allTasks(layout)
  const exact = all.find(({ taskId }) => taskId === where)
  if (exact !== undefined) return exact
  const ofApp = all.filter(({ taskId }) => taskId.slice(0, taskId.lastIndexOf('.')) === prefix)
  if (ofApp[0] !== undefined) return ofApp[0]
  const matching = all.filter(({ taskId }) => taskId.startsWith(prefix))
  if (matching.length === 1 && matching[0] !== undefined) return matching[0]
  const ids = matching.map(({ taskId }) => taskId).join(', ')
  if (matching.length > 1)
    throw new AppError('ERR_CLI_AMBIGUOUS', `"${where}" is the beginning of several tasks: ${ids}`)
  const hosts = layout.hosts.map(({ name }) => name).join(', ')
  throw new AppError(
    'ERR_CLI_NO_TASK',
    `no host and no running task "${where}"; hosts: ${hosts}; tasks: weft task list`,
  )
}

async function allTasks(layout: ClusterLayout): Promise<readonly FoundTask[]> {
  const agents = layout.hosts.filter(({ kind }) => kind === 'agent')
  const lists = await Promise.all(
    agents.map(async ({ directory }) => {
      const stateDir = join(directory, 'agent')
      const running = (await listContainers(stateDir)).filter(({ state }) => !isTerminal(state))
      return running.map(({ taskId }) => ({ stateDir, taskId }))
    }),
  )
  return lists.flat().toSorted((a, b) => a.taskId.localeCompare(b.taskId))
}
