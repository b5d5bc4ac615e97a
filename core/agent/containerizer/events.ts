import { readdirSync, readFileSync, unlinkSync, watch } from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../base/errors.ts'
import { commandLine } from './process.ts'

/** What the supervisor of a container has said so far. */
export interface SupervisorState {
  /** Process id of the supervisor; absent: it has ended, or has not begun. */
  readonly supervisor?: number
  /** Process id of the container's init. */
  readonly pid?: number
  /** Exit status of the runtime, which is that of the task. */
  readonly status?: number
}

/** `ID.running`, `ID.pid`, `ID.exit.STATUS`; an id never starts with a dot (the runtime's temporary files do). */
const namePattern = /^([^.].*)\.(running|pid|exit\.(\d+))$/

/** Reads the whole directory: what is true now, whatever was notified. */
export function readSupervisors(dir: string): ReadonlyMap<string, SupervisorState> {
  const states = new Map<string, SupervisorState>()
  for (const name of readdirSync(dir)) {
    const [, id, kind, status] = namePattern.exec(name) ?? []
    if (id === undefined) continue
    states.set(id, { ...states.get(id), ...readFact(join(dir, name), kind, status) })
  }
  return states
}

/** True when that process supervises that container: process ids are used again. */
export function isSupervisor(pid: number | undefined, containerId: string): pid is number {
  return pid !== undefined && commandLine(pid).includes(` ${containerId} `)
}

/** Forgets a container. `running` goes first: a supervisor that ends meanwhile then finds nothing to rename. */
export function removeSupervisorFiles(dir: string, containerId: string): void {
  unlinkIfThere(join(dir, `${containerId}.running`))
  for (const name of readdirSync(dir)) {
    if (namePattern.exec(name)?.[1] === containerId) unlinkIfThere(join(dir, name))
  }
}

/** Calls `onChange` after each burst of changes, until aborted. Notifications carry no facts: it reads again. */
export function watchSupervisors(dir: string, onChange: () => void, options: { readonly signal: AbortSignal }): void {
  let pending = false
  watch(dir, { signal: options.signal, persistent: true }, () => {
    if (pending) return
    pending = true
    setImmediate(() => {
      pending = false
      if (!options.signal.aborted) onChange()
    })
  })
}

function readFact(path: string, kind: string | undefined, status: string | undefined): SupervisorState {
  if (status !== undefined) return { status: Number(status) }
  const number = readNumber(path)
  if (number === undefined) return {}
  return kind === 'pid' ? { pid: number } : { supervisor: number }
}

/** Undefined while the number is being written. */
function readNumber(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    return /^[1-9]\d*$/.test(text) ? Number(text) : undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}
