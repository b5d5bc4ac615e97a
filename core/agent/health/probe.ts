import { type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { type Ip } from '../../base/ip.ts'
import { errorMessage } from '../../base/errors.ts'
import { type HealthProbe } from '../../model/task.ts'

/** Where a task is asked. */
export interface ProbeTarget {
  readonly address: Ip
  /** Runs a command inside the container. @returns its exit status */
  exec(argv: readonly string[], options: { readonly signal: AbortSignal }): Promise<number>
}

/** What a probe found. */
export type ProbeResult = { readonly kind: 'passed' } | { readonly kind: 'failed'; readonly reason: string }

/** Asks once. A failure of any kind is a result, not an exception; the signal makes it fail. */
export async function runProbe(
  probe: HealthProbe,
  target: ProbeTarget,
  options: { readonly signal: AbortSignal },
): Promise<ProbeResult> {
  try {
    const reason = await ask(probe, target, options.signal)
    return reason === undefined ? { kind: 'passed' } : { kind: 'failed', reason }
  } catch (error) {
    return { kind: 'failed', reason: options.signal.aborted ? 'no answer in time' : errorMessage(error) }
  }
}

/** @returns why it failed; undefined when it passed */
async function ask(probe: HealthProbe, target: ProbeTarget, signal: AbortSignal): Promise<string | undefined> {
  switch (probe.kind) {
    case 'http':
      return askHttp(probe, target.address, signal)
    case 'tcp':
      return askTcp(probe.port, target.address, signal)
    case 'command': {
      const status = await target.exec(['/bin/sh', '-c', probe.command], { signal })
      return status === 0 ? undefined : `the command exited with status ${status}`
    }
  }
}

/** Source: mesos, HealthCheck.HTTPCheckInfo: 200 to 399 pass, no redirect is followed; certificates are not verified. */
async function askHttp(
  { scheme, path, port }: HealthProbe & { readonly kind: 'http' },
  host: Ip,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { request } = scheme === 'https' ? await import('node:https') : await import('node:http')
  const headers = { 'User-Agent': 'weft-agent', Connection: 'close' }
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage) => {
      const status = answer.statusCode ?? 0
      answer.destroy()
      resolve(status >= 200 && status < 400 ? undefined : `HTTP status ${status}`)
    }
    const asked = request({ host, port, path, headers, agent: false, rejectUnauthorized: false, signal }, onAnswer)
    asked.on('error', reject)
    asked.end()
  })
}

function askTcp(port: number, host: Ip, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal })
    socket.on('error', reject)
    socket.on('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
  })
}
