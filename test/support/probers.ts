import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type HostLayout, netnsPath } from '../../core/cli/up/layout.ts'
import { type ProbeAnswer, type ProbeQuestion } from './prober.ts'

/** Probing processes, one in each simulated host. */
export interface Probers {
  /** Asks all at once. */
  ask(question: ProbeQuestion): Promise<readonly ProbeAnswer[]>
  close(): void
}

interface Prober {
  readonly child: ChildProcess
  readonly lines: AsyncIterator<string>
  readonly reader: Interface
}

/** Starts one prober in each host. */
export function openProbers(hosts: readonly HostLayout[]): Probers {
  const probers = hosts.map(open)
  const ask = (question: ProbeQuestion) =>
    Promise.all(
      probers.map(async ({ child, lines }) => {
        child.stdin?.write(`${JSON.stringify(question)}\n`)
        const line = await lines.next()
        return JSON.parse(String(line.value)) as ProbeAnswer
      }),
    )
  const close = () => {
    for (const { child, reader } of probers) {
      reader.close()
      child.kill('SIGKILL')
    }
  }
  return { ask, close }
}

function open(host: HostLayout): Prober {
  const script = fileURLToPath(new URL('./prober.ts', import.meta.url))
  const args = [`--net=${netnsPath(host.netns)}`, process.execPath, '--disable-warning=ExperimentalWarning', script]
  const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const reader = createInterface({ input: child.stdout })
  return { child, reader, lines: reader[Symbol.asyncIterator]() }
}
