import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'

/** The highest term of a leader whose snapshots this node got: lower ones are refused, after a restart too. */
export interface TermFile {
  /** 0: none yet. */
  readonly heard: number
  /** Durable when it returns; it happens once a leader. A full disk is logged: then it holds as long as the process runs. */
  keep(term: number): void
}

/** Reads `file`. One that is damaged counts as none, as the kept snapshot does: agents keep terms too, and more strictly. */
export function openTermFile(file: string, log: Logger): TermFile {
  const keep = (term: number) => {
    try {
      mkdirSync(dirname(file), { recursive: true })
      const fd = openSync(`${file}.new`, 'w', 0o600)
      try {
        writeSync(fd, `${term}\n`)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(`${file}.new`, file)
    } catch (error) {
      log.warn({ file, term, reason: errorMessage(error) }, 'could not keep the term on disk')
    }
  }
  return { heard: readTerm(file, log), keep }
}

function readTerm(file: string, log: Logger): number {
  try {
    const text = readFileSync(file, 'utf8').trim()
    if (/^\d{1,15}$/.test(text)) return Number(text)
    log.warn({ file }, 'the kept term is not readable')
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) log.warn({ file, reason: errorMessage(error) }, 'the kept term is not readable')
  }
  return 0
}
