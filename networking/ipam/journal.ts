import { constants, fdatasyncSync, ftruncateSync, renameSync, writeSync } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'

/**
 * An append-only file of JSON lines. A line is given to the kernel, and then applied, at once: it survives the end of this
 * process. Those who want it on the disk too wait for a sync, and whoever appends while one is under way shares the next
 * (group commit). A full disk changes nothing. A torn last line, as a crash leaves it, is cut off.
 *
 * Rejected: one file per lease, which costs a directory scan for each operation. Writing on a thread of the pool: two
 * changes of threads for what takes 10 µs.
 */
export interface Journal<Entry> {
  /** It survives the end of this process, and is applied. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL with nothing changed */
  write(entry: Entry): void
  /**
   * Resolves when all that was written is on the disk itself. When that fails, the entries stay applied, and the next sync
   * writes the file anew. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL
   */
  synced(): Promise<void>
  /** After what was written is on the disk. */
  close(): Promise<void>
}

/** What a journal needs from its owner. */
export interface JournalOptions<Entry> {
  readonly path: string
  readonly log: Logger
  /** @returns undefined for a line that is none */
  parse(value: unknown): Entry | undefined
  /** Folds an entry into the owner's state. */
  apply(entry: Entry): void
  /** How many entries {@link dump} would return, about. */
  count(): number
  /** The state as the fewest entries: what compaction writes. */
  dump(): readonly Entry[]
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Lines beyond twice the live ones before the file is rewritten. */
const slackLines = 1024

/** @throws ERR_IPAM_JOURNAL when the file cannot be read or made */
export async function openJournal<Entry>(options: JournalOptions<Entry>): Promise<Journal<Entry>> {
  const { path, log, apply, dump, count } = options
  const loaded = await load(options).catch((cause) => {
    throw new AppError('ERR_IPAM_JOURNAL', `cannot open the lease journal ${path}: ${errorMessage(cause)}`, { cause })
  })
  let { file, size, lines } = loaded
  let waiting: Waiting[] = []
  let working: Promise<void> | undefined
  let state: 'open' | 'closed' = 'open'
  /** After a sync that failed nobody knows what is on the disk. */
  let content: 'known' | 'suspect' = 'known'
  /** Lines that came while the file is rewritten: the new one needs them too. */
  let missed: string[] | undefined

  const append = (line: string) => {
    try {
      size += writeAt(file.fd, Buffer.from(line), size)
    } catch (cause) {
      content = cutOff(file.fd, size) ? content : 'suspect'
      throw journalError(path, cause)
    }
    lines++
    missed?.push(line)
  }

  const isLong = () => lines > 2 * count() + slackLines

  const rewrite = async () => {
    missed = []
    try {
      const entries = dump()
      const next = await writeCompacted(path, entries, missed)
      const old = file
      file = next.file
      size = next.size
      lines = entries.length + next.caughtUp
      await Promise.all([syncDirectory(path), old.close()])
      content = 'known'
    } finally {
      missed = undefined
    }
  }

  const sync = async () => {
    if (content === 'suspect') return rewrite()
    content = 'suspect'
    await file.datasync()
    content = 'known'
  }

  const compact = async () => {
    await rewrite().catch((error) => {
      // The long file is still whole; one of the next appends tries again.
      log.warn({ path, error: errorMessage(error) }, 'lease journal not compacted')
    })
  }

  const work = async () => {
    await undefined // what comes in this turn shares the sync
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await sync().then(
        () => batch.forEach(({ resolve }) => void resolve()),
        (cause) => batch.forEach(({ reject }) => void reject(journalError(path, cause))),
      )
    }
    if (isLong()) await compact()
    working = undefined
    if (waiting.length > 0) working = work()
  }

  return {
    write: (entry) => {
      if (state === 'closed') throw new AppError('ERR_IPAM_JOURNAL', 'the lease journal is closed')
      append(`${JSON.stringify(entry)}\n`)
      apply(entry)
      if (isLong()) working ??= work()
    },
    synced: () => {
      const done = new Promise<void>((resolve, reject) => waiting.push({ resolve, reject }))
      working ??= work()
      return done
    },
    close: async () => {
      if (state === 'closed') return
      state = 'closed'
      while (working !== undefined) await working
      await sync().finally(() => file.close())
    },
  }
}

interface Loaded {
  readonly file: FileHandle
  /** Octets of whole lines. */
  readonly size: number
  readonly lines: number
}

async function load<Entry>({ path, log, parse, apply }: JournalOptions<Entry>): Promise<Loaded> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  // Not for appending: positions are given with each write, so that a torn one can be overwritten.
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK, 0o600)
  try {
    if (!(await file.stat()).isFile()) throw new AppError('ERR_IPAM_JOURNAL', 'it is not a regular file')
    return { file, ...(await replay(file, { path, log, parse, apply })) }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function replay<Entry>(
  file: FileHandle,
  { path, log, parse, apply }: Omit<JournalOptions<Entry>, 'dump' | 'count'>,
): Promise<Omit<Loaded, 'file'>> {
  const text = await file.readFile()
  const size = text.lastIndexOf(0x0a) + 1
  const lines = size === 0 ? [] : text.toString('utf8', 0, size - 1).split('\n')
  let bad = 0
  for (const line of lines) {
    const entry = parseLine(line, parse)
    if (entry === undefined) bad++
    else apply(entry)
  }
  if (size < text.length) log.info({ path, octets: text.length - size }, 'torn end of lease journal cut off')
  if (bad > 0) log.error({ path, lines: bad }, 'unreadable lines in lease journal skipped')
  if (text.length === 0) await syncDirectory(path)
  if (size < text.length) await file.truncate(size)
  return { size, lines: lines.length }
}

function parseLine<Entry>(line: string, parse: (value: unknown) => Entry | undefined): Entry | undefined {
  try {
    return parse(JSON.parse(line))
  } catch {
    return undefined // SyntaxError: part of a batch that a crash tore
  }
}

/** @returns how many octets were written: all */
function writeAt(fd: number, bytes: Buffer, position: number): number {
  let written = 0
  while (written < bytes.length) {
    written += writeSync(fd, bytes, written, bytes.length - written, position + written)
  }
  return written
}

/** Takes away what a write that failed left behind the last whole line. @returns whether that went well */
function cutOff(fd: number, size: number): boolean {
  try {
    ftruncateSync(fd, size)
    return true
  } catch {
    return false // EIO: the file is written anew at the next sync
  }
}

/** Catching up ends: what still comes after so many rounds is written while the thread waits. */
const catchUpRounds = 4

interface Compacted {
  readonly file: FileHandle
  readonly size: number
  /** How many lines of `missed` it has, which is all. */
  readonly caughtUp: number
}

/** Replaces the file by one with these entries and what is put into `missed` meanwhile. */
async function writeCompacted(path: string, entries: readonly unknown[], missed: string[]): Promise<Compacted> {
  const file = await open(`${path}.new`, 'w+', 0o600)
  try {
    const first = Buffer.from(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
    await file.writeFile(first)
    await file.datasync()
    let [size, caughtUp] = [first.length, 0]
    for (let round = 0; missed.length > caughtUp; round++) {
      const tail = missed.slice(caughtUp)
      caughtUp += tail.length
      size += writeAt(file.fd, Buffer.from(tail.join('')), size)
      if (round < catchUpRounds) await file.datasync()
      else fdatasyncSync(file.fd)
    }
    renameSync(`${path}.new`, path)
    return { file, size, caughtUp }
  } catch (error) {
    await file.close()
    throw error
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function journalError(path: string, cause: unknown): AppError {
  if (hasCode(cause, 'ENOSPC') || hasCode(cause, 'EDQUOT')) {
    return new AppError('ERR_IPAM_DISK_FULL', `the disk of ${path} is full: free some space; no lease has changed`, {
      cause,
    })
  }
  return new AppError('ERR_IPAM_JOURNAL', `cannot write the lease journal ${path}: ${errorMessage(cause)}`, { cause })
}
