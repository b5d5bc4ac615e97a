import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { hasCode } from '../../base/errors.ts'
import { clusterDirectory } from './layout.ts'

const processRecord = z.object({ name: z.string(), pid: z.number(), startTicks: z.string() })

const clusterRecord = z.object({
  name: z.string(),
  agents: z.number(),
  /** Absent: one. */
  masters: z.number().default(1),
  api: z.string(),
  supervisor: processRecord,
  processes: z.array(processRecord),
})

/** A process that we started; its start time tells it from a later one with the same number. */
export type ProcessRecord = z.infer<typeof processRecord>

/** What `weft up` remembers of a cluster, for the other commands and for sweeping after a crash. */
export type ClusterRecord = z.infer<typeof clusterRecord>

function recordFile(name: string): string {
  return join(clusterDirectory(name), 'cluster.json')
}

/** @returns undefined when there is no cluster of that name, or its record is not readable as one */
export function readClusterRecord(name: string): ClusterRecord | undefined {
  try {
    return clusterRecord.parse(JSON.parse(readFileSync(recordFile(name), 'utf8')))
  } catch (error) {
    if (hasCode(error, 'ENOENT') || error instanceof SyntaxError || error instanceof z.ZodError) return undefined
    throw error
  }
}

/** Replaces the record atomically: a reader sees the old or the new one. */
export function writeClusterRecord(record: ClusterRecord): void {
  const file = recordFile(record.name)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(`${file}.new`, JSON.stringify(record, undefined, 2))
  renameSync(`${file}.new`, file)
}

/** Start time of a process in clock ticks since boot, field 22 of proc(5) stat; undefined when there is none. */
export function processStartTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined // ENOENT or ESRCH: it has ended
  }
}

/** True while the very process of the record runs. */
export function isAlive({ pid, startTicks }: ProcessRecord): boolean {
  return processStartTicks(pid) === startTicks
}

/** The record of a running process. */
export function recordProcess(name: string, pid: number): ProcessRecord {
  return { name, pid, startTicks: processStartTicks(pid) ?? '' }
}

/** Sends a signal to the very process of the record; one that has ended is fine. */
export function signalProcess(record: ProcessRecord, signal: NodeJS.Signals): void {
  if (!isAlive(record)) return
  try {
    process.kill(record.pid, signal)
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}
