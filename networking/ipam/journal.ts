import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'

/**
 * An append-only file of JSON lines. Appends that arrive while one is being synced share the next fdatasync (group
 * commit). The state is always the fold of the durable lines: `apply` runs when a line is on disk, never before, so a
 * full disk changes nothing. A torn last line, as a crash leaves it, is cut off. Rejected: one file per lease, which
 * costs a directory scan for each operation.
 */
export interface Journal<Entry> {
  /**
   * Resolves when the entry is durable and applied. `later` gives it to the kernel only: it survives the end of this
   * process, and a power failure once anything else is synced. @throws ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL
   */
  append(entry: Entry, sync?: Sync): Promise<void>
  /** After what was appended is durable. */
  close(): Promise<void>
}

/** When an entry is on the disk itself. */
export type Sync = 'now' | 'later'

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

interface Waiting<Entry> {
  readonly entry: Entry
  readonly sync: Sync
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
  let queue: Waiting<Entry>[] = []
  let flushing: Promise<void> | undefined
  let state: 'open' | 'closed' = 'open'

  const flushOnce = async () => {
    const batch = queue
    queue = []
    const bytes = Buffer.from(batch.map(({ entry }) => `${JSON.stringify(entry)}\n`).join(''))
    try {
      const sync = batch.some((waiting) => waiting.sync === 'now') ? 'now' : 'later'
      await appendAt(file, bytes, { size, sync })
    } catch (cause) {
      const error = journalError(path, cause)
      for (const { reject } of batch) reject(error)
      return
    }
    size += bytes.length
    lines += batch.length
    for (const { entry } of batch) apply(entry)
    for (const { resolve } of batch) resolve()
  }

  const compactWhenLong = async () => {
    if (lines <= 2 * count() + slackLines) return
    try {
      const entries = dump()
      const [old, next] = [file, await writeCompacted(path, entries)]
      file = next.file
      size = next.size
      lines = entries.length
      await old.close()
    } catch (error) {
      // The long file is still whole; the next flush tries again.
      log.warn({ path, error: errorMessage(error) }, 'lease journal not compacted')
    }
  }

  const flush = async () => {
    while (queue.length > 0) {
      await flushOnce()
      await compactWhenLong()
    }
    flushing = undefined
  }

  return {
    append: (entry, sync = 'now') => {
      if (state === 'closed') return Promise.reject(new AppError('ERR_IPAM_JOURNAL', 'the lease journal is closed'))
      const done = new Promise<void>((resolve, reject) => queue.push({ entry, sync, resolve, reject }))
      flushing ??= flush()
      return done
    },
    close: async () => {
      if (state === 'closed') return
      state = 'closed'
      await flushing
      await file.close()
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

/** Leaves the file as it was when anything fails. */
async function appendAt(
  file: FileHandle,
  bytes: Buffer,
  { size, sync }: { readonly size: number; readonly sync: Sync },
): Promise<void> {
  try {
    // What an earlier failure may have left behind the last whole line.
    if ((await file.stat()).size !== size) await file.truncate(size)
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await file.write(bytes, written, bytes.length - written, size + written)
      written += bytesWritten
    }
    if (sync === 'now') await file.datasync()
  } catch (error) {
    await file.truncate(size).catch(() => undefined) // The next append truncates again before it writes.
    throw error
  }
}

async function writeCompacted(
  path: string,
  entries: readonly unknown[],
): Promise<{ readonly file: FileHandle; readonly size: number }> {
  const bytes = Buffer.from(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
  const file = await open(`${path}.new`, 'w+', 0o600)
  try {
    await file.writeFile(bytes)
    await file.datasync()
    await rename(`${path}.new`, path)
  } catch (error) {
    await file.close()
    throw error
  }
  // The rename happened: the new file is the journal whatever becomes of the directory's sync.
  await syncDirectory(path).catch(() => undefined)
  return { file, size: bytes.length }
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
