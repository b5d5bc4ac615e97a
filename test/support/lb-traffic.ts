import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type TestHost } from './hosts.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** Starts a server on TCP and UDP, both IP versions, that tells its name and whom it sees; ready when this resolves. */
export async function startServer(host: TestHost, name: string, port: number): Promise<ChildProcess> {
  const child = host.start(process.execPath, fixture('lb-server.ts'), name, String(port))
  if (child.stdout !== null) await once(createInterface(child.stdout), 'line')
  return child
}

/** What one attempt of a client got. */
export interface Attempt {
  /** Name of the server that answered. */
  readonly server?: string
  /** The client's address as the server saw it. */
  readonly seen?: string
  /** Code of the failure; `TIMEOUT` without an answer. */
  readonly error?: string
  readonly elapsedMs: number
}

/** What a client asks. `timeoutMs`: 5,000 when absent; a test that expects no answer says less. */
export interface AskTarget {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  readonly timeoutMs?: number
}

/** Connects (or sends) `count` times in turn, each time anew. */
export function askServer(host: TestHost, target: AskTarget, count = 1): readonly Attempt[] {
  const { protocol, address, port, timeoutMs = 5000 } = target
  const args = [protocol, address, port, count, timeoutMs].map(String)
  return parseAttempts(host.run(process.execPath, fixture('lb-client.ts'), ...args))
}

/** A TCP connection that stays. */
export interface Connection {
  /** What it got when it was opened. */
  readonly first: Attempt
  /** Sends on it again, and tells what comes back. */
  ask(): Promise<Attempt>
}

/** Opens a TCP connection in the host; it ends with the host. */
export async function openConnection(host: TestHost, address: string, port: number): Promise<Connection> {
  const child = host.start(process.execPath, fixture('lb-client.ts'), 'keep', address, String(port), '1')
  const lines = child.stdout === null ? undefined : createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<Attempt> => {
    const line = await lines?.next()
    return line?.done === false ? (parseAttempts(line.value)[0] ?? noAnswer) : noAnswer
  }
  const first = await next()
  return {
    first,
    ask: async () => {
      child.kill('SIGUSR2')
      return next()
    },
  }
}

const noAnswer: Attempt = { error: 'no answer', elapsedMs: 0 }

function parseAttempts(text: string): readonly Attempt[] {
  const lines = text.trim().split('\n')
  return lines.map((line): Attempt => JSON.parse(line))
}
