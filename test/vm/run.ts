import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { AppError } from '../../core/base/errors.ts'
import { type GuestKernel, prepareKernel } from './kernel.ts'

/** How a command runs in the guest. */
export interface GuestOptions {
  readonly timeoutMs: number
  /** Beside PATH. */
  readonly env?: Readonly<Record<string, string>>
  /** Absent: thrown away. */
  readonly onOutput?: (chunk: Buffer, from: 'stdout' | 'stderr') => void
  readonly kernel?: GuestKernel
}

const guestInit = fileURLToPath(new URL('guest-init', import.meta.url))

/** Why no guest can be booted here, or false. Fetches and unpacks the kernel when that was not done. */
export function guestMissing(): string | false {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the test guest needs Linux on x86-64'
  if (process.getuid?.() !== 0) return 'the test guest needs root'
  const kernel = prepareKernel()
  return typeof kernel === 'string' ? kernel : false
}

/**
 * Runs a command as root in a throw-away kernel with IPVS: it sees this machine's files (what it writes is lost), the same
 * working folder, no network but what it makes, one processor. Its standard input is empty.
 * @returns the command's exit status
 * @throws ERR_GUEST_MISSING without a kernel; ERR_GUEST_BOOT when it did not come as far as the command; ERR_GUEST_TIMEOUT;
 * ERR_GUEST_DIED; the last three with the end of the guest's console
 */
export async function runInGuest(command: readonly string[], options: GuestOptions): Promise<number> {
  const kernel = options.kernel ?? prepareKernel()
  if (typeof kernel === 'string') throw new AppError('ERR_GUEST_MISSING', kernel)
  sweepBoxes()
  const box = mkdtempSync(join(tmpdir(), `${boxPrefix}${process.pid}-`))
  try {
    writeFileSync(join(box, 'job'), formatJob(command, options.env ?? {}))
    const ended = await boot(kernel, box, options)
    return readStatus(box) ?? fail(box, ended, options.timeoutMs)
  } finally {
    rmSync(box, { recursive: true, force: true })
  }
}

const boxPrefix = 'weft-guest-'

/** Folders that killed processes left. */
function sweepBoxes(): void {
  for (const name of readdirSync(tmpdir()).filter((one) => one.startsWith(boxPrefix))) {
    const [pid = ''] = name.slice(boxPrefix.length).split('-')
    if (!existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

function formatJob(command: readonly string[], env: Readonly<Record<string, string>>): string {
  const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`
  const variables = Object.entries({ PATH: process.env['PATH'] ?? '', HOME: '/root', ...env })
  return [
    ...variables.map(([name, value]) => `export ${name}=${quote(value)}`),
    `cd ${quote(process.cwd())}`,
    `exec ${command.map(quote).join(' ')}`,
    '',
  ].join('\n')
}

/**
 * The guest's processes are in a PID namespace, so killing `unshare` ends them all, and so does the end of this process.
 * UML takes its consoles as descriptors: 7 is its own, 8 and 9 are the command's standard output and error.
 */
async function boot(kernel: GuestKernel, box: string, options: GuestOptions): Promise<'ended' | 'killed'> {
  const console = openSync(join(box, 'console'), 'w')
  const stdio = ['ignore', console, console, 'ignore', 'ignore', 'ignore', 'ignore', console, 'pipe', 'pipe'] as const
  const env = { ...process.env, WEFT_PRELOAD: kernel.preload ?? '' }
  const child = spawn('setpriv', [...wrapper, kernel.program, ...kernelArguments(kernel, box)], {
    stdio: [...stdio],
    env,
  })
  closeSync(console)
  collect(child, 8, (chunk) => options.onOutput?.(chunk, 'stdout'))
  collect(child, 9, (chunk) => options.onOutput?.(chunk, 'stderr'))
  let killed = false
  const timer = setTimeout(() => {
    killed = true
    child.kill('SIGKILL')
  }, options.timeoutMs)
  try {
    await once(child, 'close')
  } finally {
    clearTimeout(timer)
  }
  return killed ? 'killed' : 'ended'
}

/** Address space not randomised, which UML needs; PID 1 is bash, because a kernel that is PID 1 could not abort. */
const wrapper = [
  ...['--pdeathsig', 'KILL', 'setarch', '-R', 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
  ...['bash', '-c', 'LD_PRELOAD=$WEFT_PRELOAD "$@"; exit', 'guest'],
]

function kernelArguments({ modules, kmod }: GuestKernel, box: string): readonly string[] {
  return [
    ...['mem=2G', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'rw', `init=${guestInit}`],
    ...[`weft_box=${box}`, ...(modules === undefined ? [] : [`weft_modules=${modules}`])],
    ...(kmod === undefined ? [] : [`weft_kmod=${kmod}`]),
    ...(`${process.cwd()}/`.startsWith('/tmp/') ? ['weft_tmp='] : []),
    ...['seccomp=auto', `uml_dir=${box}`, 'con=null', 'ssl=null', 'con0=null,fd:7', 'con1=null,fd:8', 'con2=null,fd:9'],
  ]
}

function collect(child: ChildProcess, fd: number, take: (chunk: Buffer) => void): void {
  const stream = child.stdio[fd] as Readable | null | undefined // a pipe: boot() asked for one
  stream?.on('data', take)
  stream?.on('error', () => undefined) // ECONNRESET: the guest was killed
}

function readStatus(box: string): number | undefined {
  try {
    return Number(readFileSync(join(box, 'status'), 'utf8'))
  } catch {
    return undefined // ENOENT: the command did not come to its end
  }
}

function fail(box: string, ended: 'ended' | 'killed', timeoutMs: number): never {
  const tail = readFileSync(join(box, 'console'), 'utf8').split('\n').slice(-40).join('\n')
  if (!existsSync(join(box, 'started'))) {
    throw new AppError('ERR_GUEST_BOOT', `the guest did not boot here; its console:\n${tail}`)
  }
  if (ended === 'killed') {
    throw new AppError('ERR_GUEST_TIMEOUT', `the guest was stopped after ${timeoutMs} ms; its console:\n${tail}`)
  }
  throw new AppError('ERR_GUEST_DIED', `the guest ended before its command did; its console:\n${tail}`)
}
