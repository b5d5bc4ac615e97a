import { readFileSync } from 'node:fs'
import { hasCode } from '../../base/errors.ts'

/** A process that can't be mistaken for a later one with its number. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks from the machine's start to the process's, field 22 of /proc/PID/stat; empty: it had ended already. */
  readonly startTicks: string
}

/** Identifies a process now. Source: proc(5): the name in field 2 may hold spaces and parentheses. */
export function identifyProcess(pid: number): ProcessIdentity {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const ended = fields[0] === 'Z' || fields[0] === 'X'
    return { pid, startTicks: ended ? '' : (fields[19] ?? '') }
  } catch {
    return { pid, startTicks: '' } // ENOENT, ESRCH: gone
  }
}

/** True while it is the same process, and not a zombie. */
export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  return startTicks !== '' && identifyProcess(pid).startTicks === startTicks
}

/** Sends a signal to a process (`-pid`: to its group); nothing happens when it is gone. */
export function signalProcess(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

/** Command line of a process, its arguments joined by spaces; empty when it is gone. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return '' // ENOENT, ESRCH: gone
  }
}
