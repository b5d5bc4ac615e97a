import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { openDisplay } from '../deploying/display.ts'
import { type OutputOptions, print } from '../output.ts'
import { followAdvice, waitForDeployment } from './wait.ts'

/** Options of the commands that deploy. */
export interface WaitOptions {
  readonly wait: boolean
  /** Seconds. */
  readonly timeout: string
}

/** Options of commands that may interrupt a deployment. */
export interface ForceOptions {
  readonly force: boolean
}

/** What became of a request that started a deployment. */
export interface Finish {
  readonly api: Api
  readonly options: OutputOptions & WaitOptions
  /** `web scaled to 3`: said when it is done. */
  readonly what: string
  /** The answer; its `deploymentId` is followed. */
  readonly body: unknown
}

/** Exit status of what SIGINT ended. Source: POSIX shells, 128 + signal number. */
const interruptedStatus = 130

/** Follows the deployment unless told not to, then prints the result. @throws ERR_CLI_DEPLOYMENT */
export async function finish({ api, options, what, body }: Finish): Promise<void> {
  const id = deploymentIdOf(body)
  if (id !== undefined && options.wait) await followDeployment(api, id, options)
  const isGoingOn = id !== undefined && !options.wait
  print(body, () => (isGoingOn ? `${what}: accepted, deployment ${id}` : what), options)
}

/** Waits with a display on stderr. Ctrl-C ends the command only. @throws ERR_CLI_DEPLOYMENT ERR_CLI_USAGE */
export async function followDeployment(api: Api, id: string, options: OutputOptions & { readonly timeout: string }) {
  const seconds = Number(options.timeout)
  if (!(seconds > 0 && seconds <= 86_400)) throw new AppError('ERR_CLI_USAGE', '--timeout takes 1 to 86400 seconds')
  const onInterrupt = () => {
    process.stderr.write(`\nweft: deployment ${id}: ${followAdvice(id)}\n`)
    process.exit(interruptedStatus)
  }
  process.once('SIGINT', onInterrupt)
  try {
    const progress = options.json ? {} : { progress: openDisplay(process.stderr, () => performance.now()) }
    const startMs = performance.now()
    const { version, missing } = await waitForDeployment(api, id, { timeoutMs: seconds * 1000, ...progress })
    if (options.json) return
    const where = missing.length === 0 ? 'on every node' : `but not on ${missing.join(', ')}`
    const took = ((performance.now() - startMs) / 1000).toFixed(1)
    process.stderr.write(`named and balanced ${where} (version ${version}), ${took} s\n`)
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}

function deploymentIdOf(body: unknown): string | undefined {
  const id = isRecord(body) ? body['deploymentId'] : undefined
  return typeof id === 'string' ? id : undefined
}
