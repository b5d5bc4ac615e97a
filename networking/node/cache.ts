import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { decodeSnapshot, encodeSnapshot } from '../../core/api/convert-snapshot.ts'
import { Snapshot } from '../../core/api/gen/cluster.ts'
import { type Clock } from '../../core/base/clock.ts'
import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'

/** The last snapshot on disk: what a node works with when it starts and no master answers. */
export interface SnapshotCache {
  /** @returns undefined when there is none, or it is damaged: a master then has a whole one */
  load(): ClusterSnapshot | undefined
  /** Writes soon; many saves in a row become one write. A full disk is logged, never thrown: it is only a cache. */
  save(snapshot: ClusterSnapshot): void
  /** Writes what is still to be written. */
  close(): void
}

/** Longest that a saved snapshot may wait before it is written. */
const writeDelayMs = 500

/** Opens the cache at `file`; nothing is read or written yet. */
export function openSnapshotCache(options: {
  readonly file: string
  readonly clock: Clock
  readonly log: Logger
}): SnapshotCache {
  const { file, clock, log } = options
  let pending: ClusterSnapshot | undefined
  let cancel: (() => void) | undefined
  const flush = () => {
    cancel?.()
    cancel = undefined
    const snapshot = pending
    pending = undefined
    if (snapshot === undefined) return
    try {
      write(file, snapshot)
    } catch (error) {
      log.warn({ file, reason: errorMessage(error) }, 'could not keep the snapshot on disk')
    }
  }
  const save = (snapshot: ClusterSnapshot) => {
    pending = snapshot
    cancel ??= clock.after(writeDelayMs, flush)
  }
  return { load: () => read(file, log), save, close: flush }
}

function write(file: string, snapshot: ClusterSnapshot): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, Snapshot.encode(encodeSnapshot(snapshot)).finish())
  renameSync(`${file}.new`, file)
}

function read(file: string, log: Logger): ClusterSnapshot | undefined {
  try {
    return decodeSnapshot(Snapshot.decode(readFileSync(file)))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) log.warn({ file, reason: errorMessage(error) }, 'the kept snapshot is not readable')
    return undefined
  }
}
