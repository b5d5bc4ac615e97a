import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What a monitored server tells. */
export interface DnsReport {
  /** How late the event loop of its thread was, of each 100 times at the worst but one, since its start. */
  readonly p99Ms: number
  readonly maxMs: number
  /** The same of a thread that does nothing: the machine's own part. */
  readonly idleP99Ms: number
  readonly rssMb: number
  /** Used by objects of the server's thread, garbage included, and by its buffers. */
  readonly heapMb: number
  readonly buffersMb: number
  /** Packets over UDP that were answered, or dropped and counted. */
  readonly udpPackets: number
}

/** A DNS server over the fixture in a process of its own. */
export interface DnsProcess {
  readonly port: number
  report(): Promise<DnsReport>
  /** Exit status, once it has ended. */
  exitStatus(): number | null
  stop(): Promise<void>
}

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Starts it. */
export async function startDnsProcess(): Promise<DnsProcess> {
  const args = ['--disable-warning=ExperimentalWarning', '--import', here('loop-delay.ts'), here('dns-monitored.ts')]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<unknown> => JSON.parse(String((await lines.next()).value ?? '{}'))
  const { port } = (await next()) as { readonly port: number } // what dns-monitored.ts says first
  return {
    port,
    report: async () => {
      child.stdin.write('\n')
      return (await next()) as DnsReport // what it says then
    },
    exitStatus: () => child.exitCode,
    stop: async () => {
      child.stdin.end()
      await ended
    },
  }
}
