import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type TestHost } from './hosts.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/**
 * Starts a server on TCP and UDP that tells its name and whom it sees; ready when this resolves. On all addresses, unless
 * `at` follows the port.
 */
export async function startServer(
  host: TestHost,
  name: string,
  ...[port, at = '::']: readonly [port: number, at?: string]
): Promise<ChildProcess> {
  const child = host.start(process.execPath, fixture('lb-server.ts'), name, String(port), at)
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
  /** How many times, each time anew; once when absent. */
  readonly count?: number
}

/** Asks each target in turn, from one process: starting one for each would take most of a test's time. */
export function askServers(host: TestHost, targets: readonly AskTarget[]): readonly (readonly Attempt[])[] {
  const text = host.run(process.execPath, fixture('lb-client.ts'), 'ask', JSON.stringify(targets))
  const lines = text.trim().split('\n')
  return lines.map((line): readonly Attempt[] => JSON.parse(line))
}

/** Asks one target. */
export function askServer(host: TestHost, target: AskTarget): readonly Attempt[] {
  return askServers(host, [target]).flat()
}

/** A TCP connection, or a UDP socket, that stays. */
export interface Connection {
  /** What it got when it was opened. */
  readonly first: Attempt
  /** Sends on it again, and tells what comes back. */
  ask(): Promise<Attempt>
}

/** Opens one in the host; it ends with the host. */
export async function openConnection(
  host: TestHost,
  address: string,
  ...[port, protocol = 'tcp']: readonly [port: number, protocol?: 'tcp' | 'udp']
): Promise<Connection> {
  const child = host.start(process.execPath, fixture('lb-client.ts'), 'keep', address, String(port), protocol)
  const lines = child.stdout === null ? undefined : createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<Attempt> => {
    const line = await lines?.next()
    return line?.done === false ? JSON.parse(line.value) : noAnswer
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
