import { type ChildProcess, spawn } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { removeTopGroup } from '../../core/agent/containerizer/cgroup.ts'
import { type ContainerExit, type Containerizer } from '../../core/agent/containerizer/containerizer.ts'
import { prepareHostView } from '../../core/agent/containerizer/host-view.ts'
import { openProvisions, type ProvisionFlags } from '../../core/agent/containerizer/open-provisions.ts'
import { type DockerClient, openDockerClient } from '../../core/agent/docker/client.ts'
import { openDockerContainerizer } from '../../core/agent/docker/docker.ts'
import { type AgentPaths, agentPaths } from '../../core/agent/paths.ts'
import { removeEverything } from '../../core/agent/sweep.ts'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { pinNetns } from '../../networking/netns.ts'
import { canMakeHosts, makeHost, type TestHost } from './hosts.ts'

const programs = ['/usr/sbin/dockerd', '/usr/bin/busybox']

/** Where a Docker Engine can be started. */
export const canRunDockerd: string | false =
  canMakeHosts === false && !programs.every((path) => existsSync(path)) ? `needs ${programs.join(', ')}` : canMakeHosts

/** How long an Engine may take to start, and to end, on a loaded machine. */
const startMs = 60_000

/** An Engine of Debian's in a namespace of its own, without a network. */
export interface TestDockerd {
  readonly host: TestHost
  readonly socketPath: string
  readonly client: DockerClient
  /** Ends it, as a machine's update would, and starts it again. */
  restart(): Promise<void>
  stop(): Promise<void>
  start(): Promise<void>
  remove(): Promise<void>
}

/** The image that each Engine has: busybox, with a user `app`, and `/bin/echo` of it as its entrypoint. */
export const boxImage = 'box:1'

/** Starts one and waits until it answers. @throws with the end of its log */
export async function startTestDockerd(): Promise<TestDockerd> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-dockerd-'))
  const host = makeHost('docker')
  const group = `wft-dockerd-${host.name}`
  const socketPath = join(dir, 'docker.sock')
  const client = openDockerClient(socketPath)
  let child: ChildProcess | undefined
  const start = async () => {
    child = spawnDockerd(host, { dir, socketPath, group })
    await answers(client, dir)
  }
  const stop = async () => {
    if (child !== undefined) await end(child)
    child = undefined
  }
  const remove = async () => {
    await stop()
    endContainerd(dir)
    for (const point of mountsBelow(dir)) execFileSync('umount', ['--lazy', point])
    await removeTopGroup(group)
    host.remove()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
  const restart = async () => {
    await stop()
    await start()
  }
  try {
    await start()
    await importBox(client, dir)
  } catch (error) {
    await remove()
    throw error
  }
  return { host, socketPath, client, restart, start, stop, remove }
}

function spawnDockerd(
  host: TestHost,
  { dir, socketPath, group }: { readonly dir: string; readonly socketPath: string; readonly group: string },
): ChildProcess {
  const off = ['iptables', 'ip6tables', 'ip-forward', 'ip-masq', 'userland-proxy'].map((name) => `--${name}=false`)
  const places = ['--data-root', join(dir, 'data'), '--exec-root', join(dir, 'exec'), '--pidfile', join(dir, 'pid')]
  const script = 'exec dockerd "$@" >>"$0" 2>&1'
  const args = ['-H', `unix://${socketPath}`, ...places, '--bridge=none', `--cgroup-parent=/${group}`, ...off]
  return spawn('nsenter', [`--net=${host.path}`, 'sh', '-c', script, join(dir, 'log'), ...args], { stdio: 'ignore' })
}

async function answers(client: DockerClient, dir: string): Promise<void> {
  const deadline = performance.now() + startMs
  while (performance.now() < deadline) {
    try {
      await client.version({ signal: AbortSignal.timeout(5000) })
      return
    } catch {
      await pause(50) // ERR_AGENT_DOCKER_AWAY: not yet
    }
  }
  throw new Error(`dockerd does not answer: ${readFileSync(join(dir, 'log'), 'utf8').slice(-2000)}`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), startMs)
  await ended
  clearTimeout(timer)
}

/** The one that dockerd has started, should it have outlived it. */
function endContainerd(dir: string): void {
  const file = join(dir, 'exec/containerd/containerd.pid')
  if (!existsSync(file)) return
  const pid = Number(readFileSync(file, 'utf8'))
  const commandLine = `/proc/${pid}/cmdline`
  if (existsSync(commandLine) && readFileSync(commandLine, 'utf8').includes(dir)) process.kill(pid, 'SIGKILL')
}

function mountsBelow(dir: string): readonly string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
  return points.filter((point) => point.startsWith(`${dir}/`)).toReversed()
}

async function importBox(client: DockerClient, dir: string): Promise<void> {
  const root = join(dir, 'box')
  for (const name of ['bin', 'etc', 'tmp']) mkdirSync(join(root, name), { recursive: true })
  copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'))
  for (const name of [
    'sh',
    'echo',
    'sleep',
    'true',
    'cat',
    'id',
    'hostname',
    'ip',
    'env',
    'tail',
    'touch',
    'dd',
    'cut',
    'grep',
  ])
    symlinkSync('busybox', join(root, 'bin', name))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1234:1235::/home/app:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n')
  const body = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 64 * 1024 * 1024 })
  const [repo = '', tag = ''] = boxImage.split(':')
  const query = { fromSrc: '-', repo, tag, changes: 'ENTRYPOINT ["/bin/echo"]' }
  await client.call({ method: 'POST', path: '/images/create', query, body }, { signal: AbortSignal.timeout(startMs) })
}

/** A Docker containerizer on a state directory of its own. */
export interface DockerBench {
  readonly paths: AgentPaths
  readonly containerizer: Containerizer
  readonly exits: readonly ContainerExit[]
  /** As an agent that is started again on the same state. */
  reopen(): Containerizer
  output(containerId: string, stream?: 'stdout' | 'stderr'): string
  remove(): Promise<void>
}

/** Opens one. */
export function openDockerBench(
  socketPath: string,
  { onExit, ...flags }: Partial<ProvisionFlags> & { readonly onExit?: (exit: ContainerExit) => void } = {},
): DockerBench {
  const dir = mkdtempSync(join(tmpdir(), 'weft-docker-agent-'))
  const paths = agentPaths(dir)
  const host = prepareHostView(paths.rootfs, [dir])
  const exits: ContainerExit[] = []
  const endings: AbortController[] = []
  const reopen = () => {
    const ending = new AbortController()
    for (const earlier of endings) earlier.abort()
    endings.push(ending)
    const at = { paths, host, clock: systemClock, log: silentLog }
    const wanted = { insecureRegistries: [], hostVolumes: [], imageDiskMb: 1000, ...flags }
    const provisions = openProvisions(at, wanted, ending)
    const tell = (exit: ContainerExit) => {
      exits.push(exit)
      onExit?.(exit)
    }
    const options = { ...provisions, log: silentLog, signal: ending.signal, socketPath, pinNetwork: pinNetns }
    return openDockerContainerizer({ ...options, onExit: tell })
  }
  const containerizer = reopen()
  const remove = async () => {
    for (const ending of endings) ending.abort()
    await removeEverything(dir)
    rmSync(dir, { recursive: true })
  }
  const output = (id: string, stream = 'stdout') => readFileSync(join(paths.sandboxes, id, stream), 'utf8')
  return { paths, containerizer, exits, reopen, output, remove }
}
