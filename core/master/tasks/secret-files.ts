import { readFileSync, realpathSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { type ReadSecret } from '../../model/secret.ts'

/** MAX_ARG_STRLEN, include/uapi/linux/binfmts.h, less a name: what a variable can hold. */
const maxBytes = 130_000
const sourcePattern = /^\/?[\w-][\w.-]*(\/[\w-][\w.-]*)*$/

/**
 * Secrets as files below `directory`: the source `/db/password` is the file `db/password`. Read each time a task is sent, so
 * that a new value needs no restart of the master. Symbolic links must not lead out of the directory.
 * @throws ERR_MASTER_SECRET when called for a source that is no such file, with what to do
 */
export function secretFiles(directory: string): ReadSecret {
  return (source) => {
    if (!sourcePattern.test(source))
      throw problem(source, 'it is not a path of letters, digits, "_", "-" and inner "."')
    try {
      const root = realpathSync(directory)
      const file = realpathSync(join(root, source))
      if (!file.startsWith(root + sep)) throw problem(source, 'it leads out of the directory of secrets')
      const { size } = statSync(file)
      if (size > maxBytes) throw problem(source, `it has more than ${maxBytes} octets`)
      return readText(readFileSync(file), source)
    } catch (cause) {
      if (cause instanceof AppError) throw cause
      throw new AppError('ERR_MASTER_SECRET', `secret "${source}" can't be read: ${errorMessage(cause)}`, { cause })
    }
  }
}

function readText(content: Buffer, source: string): string {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content)
    if (!text.includes('\0')) return text
  } catch {
    // A TypeError of the decoder: told below.
  }
  throw problem(source, 'it is not text (UTF-8 without NUL)')
}

function problem(source: string, what: string): AppError {
  return new AppError('ERR_MASTER_SECRET', `secret "${source}": ${what}`)
}
