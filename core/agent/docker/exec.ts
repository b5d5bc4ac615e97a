import { AppError } from '../../base/errors.ts'
import { signalProcess } from '../containerizer/process.ts'
import { type DockerClient } from './client.ts'
import { field, numberOf, textOf } from './parse.ts'

/** How long the Engine may take to tell of a command that is given up. */
const lastLookMs = 10_000

/**
 * Runs a command in a container to its end, its output dropped.
 * @returns its exit status @throws the signal's reason when aborted (the command is killed), ERR_AGENT_EXEC
 */
export async function execInDocker(
  client: DockerClient,
  { name, argv }: { readonly name: string; readonly argv: readonly string[] },
  { signal }: { readonly signal: AbortSignal },
): Promise<number> {
  signal.throwIfAborted()
  const body = { Cmd: argv, AttachStdout: true, AttachStderr: true }
  const made = await client.call({ method: 'POST', path: `/containers/${name}/exec`, body }, { signal })
  const path = `/exec/${textOf(field(made, 'Id'))}`
  const look = () => client.call({ method: 'GET', path: `${path}/json` }, { signal: AbortSignal.timeout(lastLookMs) })
  try {
    const start = { method: 'POST', path: `${path}/start`, body: { Detach: false, Tty: false } } as const
    for await (const _ of await client.stream(start, { signal })) {
      // Read, so that the command can go on writing.
    }
  } catch (error) {
    // The Engine goes on with it although nobody listens.
    const pid = numberOf(field(await look(), 'Pid'))
    if (pid > 1) signalProcess(pid, 'SIGKILL')
    throw signal.aborted ? signal.reason : error
  }
  const status = field(await look(), 'ExitCode')
  if (typeof status === 'number') return status
  throw new AppError('ERR_AGENT_EXEC', `Docker does not tell how a command ended in ${name}`)
}
