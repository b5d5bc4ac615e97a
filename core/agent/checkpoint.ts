import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'

// An append-only file for each task rather than one document rewritten: an event costs one write and one fdatasync
// (a rewrite costs two syncs), a full disk can't destroy what is there, and appends that meet share a sync.

/** The durable events of one task, or of one executor. */
export interface Journal<Event> {
  /**
   * Resolves when the events are on disk. After a failure they stay queued, and go out with the next append.
   * @throws ERR_AGENT_DISK_FULL, ERR_AGENT_JOURNAL
   */
  append(...events: readonly Event[]): Promise<void>
  /** Waits for what is under way, then closes the file. */
  close(): Promise<void>
}

/**
 * A journal for appending, made with its folder at the first append. `size` octets of it are good: what follows is a torn
 * line and is cut off.
 */
export function openJournal<Event>(path: string, size = 0): Journal<Event> {
  let file: FileHandle | undefined
  let good = size
  let queue: readonly string[] = []
  let running: Promise<void> = Promise.resolve()
  const flush = async () => {
    const lines = queue
    if (lines.length === 0) return
    queue = []
    try {
      file ??= await openForAppend(path, size)
      const bytes = Buffer.from(lines.join(''))
      await writeAll(file, bytes, good)
      good += bytes.length
    } catch (error) {
      queue = [...lines, ...queue]
      throw explain(path, error)
    }
  }
  return {
    append: (...events) => {
      queue = [...queue, ...events.map(encodeLine)]
      // What comes while a sync is under way shares the next one.
      const mine = running.catch(() => undefined).then(flush) // ERR_AGENT_*: told to who appended that
      running = mine
      return mine
    },
    close: async () => {
      await running.catch(() => undefined) // ERR_AGENT_*: told to who appended
      await file?.close()
    },
  }
}

/** A journal as it is on disk: its whole events, and how many octets of it they are. */
export interface JournalContent<Event> {
  readonly events: readonly Event[]
  readonly size: number
}

/** Reads a journal up to its first damaged line. A missing file is an empty journal. */
export async function readJournal<Event>(path: string): Promise<JournalContent<Event>> {
  try {
    return decodeJournal(await readFile(path))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { events: [], size: 0 }
    throw new AppError('ERR_AGENT_JOURNAL', `can't read ${path}: ${errorMessage(error)}`, { cause: error })
  }
}

/** One event as a line: CRC-32 of the JSON text in 8 hexadecimal digits, a space, the JSON text. */
export function encodeLine(event: unknown): string {
  const text = JSON.stringify(event)
  return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`
}

/** The events before the first torn or damaged line. */
export function decodeJournal<Event>(bytes: Buffer): JournalContent<Event> {
  const events: Event[] = []
  let size = 0
  for (;;) {
    const end = bytes.indexOf(0x0a, size)
    if (end < 0) return { events, size }
    const event = decodeLine<Event>(bytes.toString('utf8', size, end))
    if (event === undefined) return { events, size }
    events.push(event)
    size = end + 1
  }
}

function decodeLine<Event>(line: string): Event | undefined {
  const text = line.slice(9)
  if (line[8] !== ' ' || crc32(text).toString(16).padStart(8, '0') !== line.slice(0, 8)) return undefined
  // The checksum says that this is what encodeLine wrote.
  return JSON.parse(text) as Event
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  try {
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written)
      written += bytesWritten
    }
    await file.datasync()
  } catch (error) {
    await file.truncate(position).catch(() => undefined) // whatever it is: reading stops at the torn line
    throw error
  }
}

async function openForAppend(path: string, size: number): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const file = await open(path, size === 0 ? 'w' : 'r+', 0o600)
  await file.truncate(size)
  return file
}

function explain(path: string, cause: unknown): AppError {
  const full = hasCode(cause, 'ENOSPC') || hasCode(cause, 'EDQUOT')
  const reason = full ? 'the disk is full: free space there' : errorMessage(cause)
  const code = full ? 'ERR_AGENT_DISK_FULL' : 'ERR_AGENT_JOURNAL'
  return new AppError(code, `can't write ${path}: ${reason}`, { cause })
}
