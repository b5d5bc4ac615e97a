import { spawn } from 'node:child_process'
import { AppError } from '../base/errors.ts'
import { runtimeEnvironment } from './containerizer/runtime.ts'

/** A program that is run to its end, its output small enough to be kept. */
export interface ProgramCall {
  readonly program: string
  readonly args: readonly string[]
  /** Debian's package that has it. */
  readonly install: string
  readonly cwd?: string
  /** Whom it runs as; absent: as the agent. */
  readonly user?: { readonly uid: number; readonly gid: number }
  /** Descriptor that takes its output; absent: it is returned. */
  readonly stdout?: number
  readonly env?: Readonly<Record<string, string>>
  readonly onLine?: (line: string) => void
}

/** Most octets of output that are kept of each stream. */
const keepOctets = 4 * 1024 * 1024

/**
 * Runs a program without a shell, in a group of its own, all of which is killed when aborted.
 * @returns its output
 * @throws ERR_AGENT_PROGRAM with what it complained of, or what to install; the signal's reason when aborted
 */
export async function runProgram(call: ProgramCall, { signal }: { readonly signal: AbortSignal }): Promise<Buffer> {
  signal.throwIfAborted()
  const { program, args, cwd = '/', user = {}, env = {} } = call
  const child = spawn(program, args, {
    cwd,
    ...user,
    env: { ...runtimeEnvironment, ...env },
    detached: true,
    stdio: ['ignore', call.stdout ?? 'pipe', 'pipe'],
  })
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // ESRCH: it has just ended
    }
  }
  signal.addEventListener('abort', kill)
  const output = collect(child.stdout, call.onLine)
  const complaint = collect(child.stderr, call.onLine)
  try {
    const status = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, name) => resolve(code ?? name ?? 'unknown'))
    })
    signal.throwIfAborted()
    if (status === 0) return Buffer.concat(output)
    const told = complaintIn(Buffer.concat(complaint).toString('utf8'))
    throw new AppError('ERR_AGENT_PROGRAM', told === '' ? `${program} ended with ${status}` : `${program}: ${told}`)
  } catch (error) {
    throw explain(call, error)
  } finally {
    signal.removeEventListener('abort', kill)
  }
}

function explain({ program, install }: ProgramCall, error: unknown): unknown {
  if (typeof error !== 'object' || error === null || !('code' in error) || error.code !== 'ENOENT') return error
  const advice = `${program} is not installed on this node: \`apt-get install ${install}\``
  return new AppError('ERR_AGENT_PROGRAM', advice, { cause: error })
}

function collect(stream: NodeJS.ReadableStream | null, onLine: ((line: string) => void) | undefined): Buffer[] {
  const chunks: Buffer[] = []
  let size = 0
  stream?.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= keepOctets) chunks.push(chunk)
    if (onLine !== undefined) for (const line of chunk.toString('utf8').split('\n')) if (line !== '') onLine(line)
  })
  return chunks
}

/** What a program complained of: the message of the last line that Go programs log, else the first line. */
function complaintIn(text: string): string {
  const lines = text.trim().split('\n')
  const message = /\bmsg="((?:[^"\\]|\\.)*)"/.exec(lines.at(-1) ?? '')?.[1]
  return (message?.replaceAll('\\"', '"') ?? lines[0] ?? '').slice(0, 1000)
}
