import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StoreKind, storeServerProblem, storeServerSpec } from '../../core/cli/up/store-server.ts'

/** A real server on loopback with a folder of its own. */
export interface StoreServer {
  readonly url: string
  readonly port: number
  readonly directory: string
  /** Starts it again on its folder and port, after {@link kill}. */
  start(...args: readonly string[]): Promise<void>
  kill(signal?: NodeJS.Signals): Promise<void>
  /** SIGSTOP and SIGCONT. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
  remove(): Promise<void>
}

/** Reason to skip a test that needs the server; false when it is installed. */
export function lacks(kind: StoreKind): string | false {
  return storeServerProblem(kind) ?? false
}

/** Starts a server and waits until it answers. `args` are added to its command line. */
export async function startStoreServer(kind: StoreKind, ...args: readonly string[]): Promise<StoreServer> {
  const directory = mkdtempSync(join(tmpdir(), `weft-${kind}-`))
  const port = await freePort()
  const spec = storeServerSpec(kind, { directory, host: '127.0.0.1', port })
  let child: ChildProcess | undefined
  const start = async (...more: readonly string[]) => {
    child = spawn(spec.file, [...spec.args, ...more], {
      stdio: ['ignore', 'ignore', process.env['WEFT_TEST_LOG'] === undefined ? 'ignore' : 'inherit'],
    })
    await whenAnswering(kind, port, child)
  }
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    const running = child
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return
    const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()))
    running.kill(signal)
    await ended
  }
  const remove = async () => {
    await kill()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await start(...args)
  } catch (error) {
    await remove()
    throw error
  }
  return { url: spec.url, port, directory, start, kill, signal: (name) => void child?.kill(name), remove }
}

/** A port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

const startLimitMs = 30_000

/** Redis answers PONG, ZooKeeper imok. */
async function whenAnswering(kind: StoreKind, port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + startLimitMs
  const question = kind === 'redis' ? 'PING\r\n' : 'ruok'
  const answer = /^(\+PONG|-NOAUTH|imok)/
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${kind} ended with status ${child.exitCode}`)
    if (answer.test(await ask(port, question))) return
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  throw new Error(`${kind} does not answer within ${startLimitMs / 1000} s`)
}

function ask(port: number, question: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(question))
    socket.setTimeout(1_000, () => socket.destroy())
    socket.once('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.on('error', () => undefined) // not there yet
    socket.on('close', () => resolve(''))
  })
}
