import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cgroupSuffix, findTopGroups } from '../../core/agent/containerizer/cgroup.ts'
import { removeEverything } from '../../core/agent/sweep.ts'
import { parseAgentId, parseTaskId } from '../../core/model/ids.ts'
import { type TaskInfo } from '../../core/model/task.ts'

const main = fileURLToPath(new URL('../../core/agent/main.ts', import.meta.url))

/** A plugin that gives 192.0.2.7 to the loopback of the container, and writes down how it was called. */
const plugin = (log: string) => `#!/bin/sh
input=$(cat)
echo "$CNI_COMMAND $CNI_IFNAME \${CNI_NETNS:+netns} $CNI_CONTAINERID" >> ${log}
case "$input" in *refuse*) [ "$CNI_COMMAND" = ADD ] && { echo '{"cniVersion":"1.0.0","code":11,"msg":"no address left"}'; exit 1; };; esac
[ "$CNI_COMMAND" = ADD ] || exit 0
nsenter --net="$CNI_NETNS" ip addr add 192.0.2.7/32 dev lo || exit 1
echo '{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.7/32"}],"dns":{"nameservers":["198.51.100.1"],"search":["mesos"]}}'
`

/** `flags`: more of the agent's own. */
export interface AgentStart {
  readonly stateMb?: number
  readonly underlay?: string
  readonly flags?: readonly string[]
}

/** A state directory with a fake CNI plugin, and agent processes on it. */
export interface AgentBench {
  readonly stateDir: string
  /** Starts an agent that talks to that master; `stateMb`: its state is in memory, that large, and seen by it alone. */
  start(master: string, options?: AgentStart): ChildProcess
  /** The calls of the plugin so far. */
  cniCalls(): readonly string[]
  /** Everything of ours that the machine still has: mounts, control groups, processes, files; waits for it to be nothing. */
  leftovers(): Promise<readonly string[]>
  /** What a container of the task has written. @returns empty when there is none */
  output(taskId: string, stream?: 'stdout' | 'stderr'): string
  remove(): Promise<void>
}

/** Makes one; `stateDir` is where the agent shall keep its state, below a fresh directory. */
export function makeAgentBench(): AgentBench {
  const root = mkdtempSync(join(tmpdir(), 'weft-agent-'))
  const [stateDir, bin, conf, log] = ['state', 'bin', 'conf', 'cni.log'].map((name) => join(root, name)) as [
    string,
    string,
    string,
    string,
  ]
  mkdirSync(bin)
  mkdirSync(conf)
  writeFileSync(log, '')
  writeFileSync(join(bin, 'fake'), plugin(log))
  chmodSync(join(bin, 'fake'), 0o755)
  for (const name of ['dcos', 'refuse']) {
    const list = { cniVersion: '1.0.0', name, plugins: [{ type: 'fake' }] }
    writeFileSync(join(conf, `${name}.conflist`), JSON.stringify(list))
  }
  const agents: ChildProcess[] = []
  const start: AgentBench['start'] = (master, { stateMb, underlay = '127.0.0.1', flags: more = [] } = {}) => {
    const flags = [
      ...[
        '--http-port',
        '0',
        '--state-dir',
        stateDir,
        '--node-name',
        'bench',
        '--underlay',
        underlay,
        '--master',
        master,
      ],
      ...['--resources', 'cpus:2;mem:1024;disk:100;ports:[31000-31999]', '--cni-bin-dir', bin, '--cni-conf-dir', conf],
      ...more,
    ]
    const mount = `mount -t tmpfs -o size=${stateMb}m none ${stateDir} && exec "$@"`
    if (stateMb !== undefined) mkdirSync(stateDir)
    const wrapper =
      stateMb === undefined ? [] : ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, 'sh']
    const [file = '', ...args] = [...wrapper, process.execPath, main, ...flags]
    const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'pipe'] })
    child.stderr.on('data', (text) => process.env['WEFT_TEST_LOG'] && process.stderr.write(text))
    agents.push(child)
    return child
  }
  const remove = async () => {
    for (const agent of agents) await stopProcess(agent, 'SIGKILL')
    await removeEverything(stateDir)
    rmSync(root, { recursive: true, force: true })
  }
  const cniCalls = () => readFileSync(log, 'utf8').trim().split('\n')
  const output = (taskId: string, stream: 'stdout' | 'stderr' = 'stdout') => {
    const sandboxes = join(stateDir, 'sandboxes')
    const id = listIfThere(sandboxes).find((path) => path.startsWith(join(sandboxes, `${taskId}-`)))
    // The folder is made a moment before the files in it.
    return id === undefined || !existsSync(join(id, stream)) ? '' : readFileSync(join(id, stream), 'utf8')
  }
  const leftovers = async () => {
    for (let i = 0; i < 200 && findLeftovers(stateDir).length > 0; i++) await pause(50)
    return findLeftovers(stateDir)
  }
  return { stateDir, start, cniCalls, leftovers, output, remove }
}

/** Signals a process and resolves with its exit status when it has ended. */
export async function stopProcess(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code))
    child.kill(signal)
  })
}

/** A task of a shell command on the host's network, with what a test wants otherwise. */
export function shellTask(id: string, command: string, change: Partial<TaskInfo> = {}): TaskInfo {
  return {
    taskId: parseTaskId(id),
    name: id,
    agentId: parseAgentId('master-S0'),
    resources: { cpuMillis: 500, memMb: 64, diskMb: 0, ports: [] },
    command: { shell: true, value: command, arguments: [], env: {} },
    networks: [],
    killGraceMs: 5000,
    labels: {},
    ...change,
  }
}

function findLeftovers(stateDir: string): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(stateDir))
  const groups = findTopGroups((name) => name.startsWith('weft-') && name.endsWith(`-${cgroupSuffix(stateDir)}`))
  const processes = readdirSync('/proc').filter(
    (pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid && mentions(pid, stateDir),
  )
  const files = ['containers', 'events', 'runtime', 'netns'].flatMap((name) => listIfThere(join(stateDir, name)))
  return [...mounts, ...groups, ...processes, ...files]
}

/** A supervisor or runtime of that state directory; not the agent itself. */
function mentions(pid: string, stateDir: string): boolean {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return line.includes(stateDir) && !line.includes(main)
  } catch {
    return false // ENOENT, ESRCH: it has ended
  }
}

function listIfThere(dir: string): readonly string[] {
  return existsSync(dir) ? readdirSync(dir).map((name) => join(dir, name)) : []
}
