import { readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cniCodes } from '../../cni-plugins/cni/errors.ts'
import { integerField, parseJsonObject } from '../../cni-plugins/cni/json.ts'
import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type CniAnswer, decodeCall, frameLimitBytes } from './cni-frame.ts'
import { type CniHandler } from './cni-server.ts'

/** Where the client leaves DELs while no daemon answers. */
export function delQueueOf(socketPath: string): string {
  return join(dirname(socketPath), 'cni-del-queue')
}

/** What became of the queue. */
export interface DrainReport {
  readonly done: number
  /** Failed; tried again when the daemon starts next. */
  readonly kept: number
}

/**
 * Performs the DELs that came while the daemon was down, oldest first, and forgets those that succeeded. What is no
 * request is set aside as `*.bad`.
 */
export async function drainDelQueue(
  { socketPath, handler, log }: { readonly socketPath: string; readonly handler: CniHandler; readonly log: Logger },
  { signal }: { readonly signal: AbortSignal },
): Promise<DrainReport> {
  const directory = delQueueOf(socketPath)
  const names = await readdir(directory).catch((error) => {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  })
  let [done, kept] = [0, 0]
  for (const name of names.filter((file) => file.endsWith('.del')).toSorted()) {
    signal.throwIfAborted()
    const outcome = await performQueued(join(directory, name), { handler, log }, { signal })
    if (outcome === 'done') done++
    else if (outcome === 'failed') kept++
  }
  if (done + kept > 0) log.info({ done, kept }, 'queued DELs performed')
  return { done, kept }
}

async function performQueued(
  path: string,
  { handler, log }: { readonly handler: CniHandler; readonly log: Logger },
  options: { readonly signal: AbortSignal },
): Promise<'done' | 'failed' | 'bad'> {
  try {
    const call = decodeCall(await readRegular(path))
    if (call.env['CNI_COMMAND'] !== 'DEL') throw new Error('it is no DEL')
    const answer = await handler(call, options)
    if (answer.exitCode !== 0) {
      if (isHopeless(answer)) throw new Error(answer.stdout.trim())
      log.warn({ path, answer: answer.stdout.trim() }, 'queued DEL failed')
      return 'failed'
    }
    await unlink(path)
    return 'done'
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 'done'
    log.warn({ path, error: errorMessage(error) }, 'queued DEL is unreadable')
    await rename(path, `${path}.bad`)
    return 'bad'
  }
}

/** True when the request itself is wrong: no later try can succeed. */
function isHopeless({ stdout }: CniAnswer): boolean {
  const { version, unsupportedField, environment, decode, config } = cniCodes
  const code = integerField(parseJsonObject(stdout, 'the answer'), 'code')
  return code !== undefined && [version, unsupportedField, environment, decode, config].some((bad) => bad === code)
}

async function readRegular(path: string): Promise<Buffer> {
  const { size } = await stat(path)
  if (size > frameLimitBytes) throw new Error(`it has ${size} octets`)
  return readFile(path)
}
