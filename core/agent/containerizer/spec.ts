import { AppError } from '../../base/errors.ts'
import { type Ip } from '../../base/ip.ts'
import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { type CommandInfo, type TaskInfo } from '../../model/task.ts'
import { type ImageConfig, imageArgv, imageEnvironment } from '../image/config.ts'
import { type ContainerExtra } from './containerizer.ts'
import { initScript } from './init.ts'

/** Where a task finds its sandbox, as in Mesos. */
export const sandboxMount = '/mnt/mesos/sandbox'

/** Least memory of a container: below it the runtime itself can't start. Source: mesos, MIN_MEMORY. */
const minMemoryMb = 32

/** Least CPU shares. Source: mesos, MIN_CPU_SHARES. */
const minCpuShares = 2

/** Most processes and threads of a container: a fork bomb stays inside. */
const maxPids = 4096

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

const capabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
]

/** A directory of the host that containers see, read-only. */
export interface HostView {
  /** Top-level directories, absolute. */
  readonly directories: readonly string[]
  /** Writable memory file systems over them: /tmp, /run, … */
  readonly scratch: readonly string[]
  /** Directories that must not be seen: state directories. */
  readonly hidden: readonly string[]
  /** User data base of the host, as it is seen inside. */
  readonly passwd: string
}

/** A file of ours over one of the container's. */
export interface FileMount {
  readonly source: string
  readonly destination: string
}

/** A volume, inside. */
export interface VolumeBind extends FileMount {
  readonly mode: 'ro' | 'rw'
}

/** What an image says of the containers made of it. */
export interface ImageView {
  readonly config: ImageConfig
  /** Home directory of the user. */
  readonly home: string
  /** Without /bin/sh the program itself is the first process. */
  readonly init: 'shell' | 'none'
}

/** All that a container's configuration follows from. */
export interface SpecInput {
  readonly containerId: string
  readonly frameworkId: FrameworkId
  readonly agentId?: AgentId
  readonly info: TaskInfo
  readonly extra?: ContainerExtra
  readonly host: HostView
  readonly user: OciUser
  /** Absent: the host's directories, read-only. */
  readonly image?: ImageView
  readonly rootfs: string
  readonly sandbox: string
  readonly hostname: string
  readonly netns: string
  readonly address?: Ip
  readonly files: readonly FileMount[]
  readonly volumes?: readonly VolumeBind[]
  readonly cgroupPath: string
  /** `none`: the machine lets us make no cgroups. */
  readonly limits: 'cgroup' | 'none'
}

/** A mount of an OCI configuration. */
export interface OciMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** The part of an OCI runtime configuration that is used. Source: opencontainers/runtime-spec, config.md 1.0.2. */
export interface OciSpec {
  readonly ociVersion: string
  readonly process: {
    readonly terminal: boolean
    readonly user: OciUser
    readonly args: readonly string[]
    readonly env: readonly string[]
    readonly cwd: string
    readonly capabilities: Readonly<Record<'bounding' | 'effective' | 'permitted', readonly string[]>>
    readonly noNewPrivileges: boolean
  }
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly hostname: string
  readonly mounts: readonly OciMount[]
  readonly linux: Readonly<Record<string, unknown>>
}

/** Numeric identity of a process. */
export interface OciUser {
  readonly uid: number
  readonly gid: number
}

/** The OCI configuration of a task. @throws ERR_AGENT_COMMAND */
export function ociSpec(input: SpecInput): OciSpec {
  const { image } = input
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: input.user,
      args: processArgs(input),
      env: Object.entries(environment(input)).map(([key, value]) => `${key}=${value}`),
      cwd: image === undefined || image.config.workingDir === '' ? sandboxMount : image.config.workingDir,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: true,
    },
    root: { path: input.rootfs, readonly: image === undefined },
    hostname: input.hostname,
    mounts: mounts(input),
    linux: {
      // Without a path the runtime asks for a group of its own and, without privilege, goes on when it gets none.
      ...(input.limits === 'cgroup' ? { cgroupsPath: input.cgroupPath, resources: cgroupLimits(input.info) } : {}),
      rootfsPropagation: 'private',
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
        { type: 'network', path: input.netns },
      ],
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/scsi', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  }
}

function processArgs({ info, image }: SpecInput): readonly string[] {
  const argv = image === undefined ? commandArgv(info.command) : imageArgv(info.command, image.config)
  return image?.init === 'none' ? argv : ['/bin/sh', '-c', initScript, 'weft-init', ...argv]
}

/** The program and its arguments. @throws ERR_AGENT_COMMAND when there is none */
export function commandArgv({ shell, value, arguments: argv }: CommandInfo): readonly string[] {
  if (shell) return ['/bin/sh', '-c', value]
  const program = value === '' ? argv[0] : value
  if (program === undefined || program === '') {
    throw new AppError('ERR_AGENT_COMMAND', 'the command is empty: give a value, or arguments')
  }
  return [program, ...argv.slice(1)]
}

/**
 * Hard limit of CPU time in each {@link cpuPeriodUs}. It is set once the task runs: it would throttle the runtime's own
 * start, which is far above the average need of a small task.
 */
export function cpuQuotaUs(cpuMillis: number): number {
  return Math.max(1000, (cpuMillis * cpuPeriodUs) / 1000)
}

/** Hard limit of memory. */
export function memoryBytes(memMb: number): number {
  return Math.max(minMemoryMb, memMb) * 1024 * 1024
}

/** Period of CPU quotas. Source: mesos, CPU_CFS_PERIOD. */
export const cpuPeriodUs = 100_000

/** `name`, or a number; the default is root. @throws ERR_AGENT_USER when the host has no such user */
export function findUser(user: string | undefined, passwd: string): OciUser {
  if (user === undefined || user === '' || user === 'root') return { uid: 0, gid: 0 }
  for (const line of passwd.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    if (name === user || uid === user) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new AppError('ERR_AGENT_USER', `no user "${user}" in /etc/passwd of this node`)
}

/** Later entries win: what the task says, then what only we know. */
function environment(input: SpecInput): Readonly<Record<string, string>> {
  const { image } = input
  return {
    PATH: defaultPath,
    HOME: image?.home ?? sandboxMount,
    ...(image === undefined ? {} : imageEnvironment(image.config)),
    ...taskVariables(input),
  }
}

/** The variables of a task, whatever runs it. */
export function taskVariables(
  input: Pick<SpecInput, 'info' | 'containerId' | 'frameworkId' | 'agentId' | 'address' | 'extra'>,
): Readonly<Record<string, string>> {
  const { info, containerId, frameworkId, agentId, address, extra } = input
  return {
    ...info.command.env,
    MESOS_SANDBOX: sandboxMount,
    MESOS_DIRECTORY: sandboxMount,
    // An executor is no task.
    ...(info.executor?.kind === 'custom' ? {} : { MESOS_TASK_ID: info.taskId }),
    MESOS_EXECUTOR_ID: info.executor?.id ?? info.taskId,
    MESOS_CONTAINER_ID: containerId,
    MESOS_FRAMEWORK_ID: frameworkId,
    ...(agentId === undefined ? {} : { MESOS_AGENT_ID: agentId, MESOS_SLAVE_ID: agentId }),
    ...(address === undefined ? {} : { MESOS_CONTAINER_IP: address, LIBPROCESS_IP: address }),
    ...extra?.env,
  }
}

/** Order: a mount point must lie in what was mounted before it. */
function mounts({ host, image, sandbox, files, volumes = [], limits }: SpecInput): readonly OciMount[] {
  // Group tty; a user namespace of an unprivileged user has no such group.
  const terminals = limits === 'cgroup' ? ['mode=0620', 'gid=5'] : ['mode=0620']
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: [] },
    memory('/dev', 'mode=755', 'size=65536k'),
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', ...terminals],
    },
    memory('/dev/shm', 'nodev', 'mode=1777', 'size=65536k'),
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    ...(image === undefined ? hostMounts(host) : []),
    bind(sandbox, sandboxMount, 'rw'),
    ...volumes.map(({ source, destination, mode }) => bind(source, destination, mode)),
    ...files.map(({ source, destination }) => bind(source, destination, 'ro')),
  ]
}

function hostMounts({ directories, scratch, hidden }: HostView): readonly OciMount[] {
  const visible = (path: string) => directories.some((top) => path === top || path.startsWith(`${top}/`))
  return [
    ...directories.map((path) => bind(path, path, 'ro')),
    ...scratch.map((path) => memory(path, 'nodev', 'mode=1777')),
    ...hidden.filter(visible).map((path) => memory(path, 'nodev', 'ro', 'mode=000', 'size=4k')),
  ]
}

function memory(destination: string, ...options: readonly string[]): OciMount {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', ...options] }
}

/** Not recursive, and private: what is mounted below later stays out, and can be unmounted outside. */
function bind(source: string, destination: string, mode: 'ro' | 'rw'): OciMount {
  return { destination, type: 'bind', source, options: ['bind', mode, 'nosuid', 'nodev', 'private'] }
}

/** Limits of a task. Source: opencontainers/runtime-spec, config-linux.md, `resources`. */
export function cgroupLimits({ resources: { cpuMillis, memMb } }: TaskInfo) {
  return {
    devices: [{ allow: false, access: 'rwm' }],
    memory: { limit: memoryBytes(memMb) },
    cpu: { shares: Math.max(minCpuShares, Math.floor((cpuMillis * 1024) / 1000)) },
    pids: { limit: maxPids },
  }
}
