import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { removeEverything } from '../../agent/sweep.ts'
import { removeHosts } from './hosts.ts'
import { clusterDirectory } from './layout.ts'
import { isAlive, type ProcessRecord, readClusterRecord, signalProcess } from './record.ts'

/** How long a killed process may take to be gone. */
const killLimitMs = 5_000

/**
 * Removes all that a local cluster made and that is still there: processes, containers with their cgroups and mounts,
 * namespaces with their links, state. Safe to repeat; does nothing where nothing is.
 */
export async function sweepCluster(name: string): Promise<void> {
  const record = readClusterRecord(name)
  if (record !== undefined) await killAll(record.processes)
  for (const stateDir of agentDirectories(clusterDirectory(name))) await removeEverything(stateDir)
  removeHosts(name)
  rmSync(clusterDirectory(name), { recursive: true, force: true })
}

/** State directories of the agents: from the folder itself, since a crash may have left no record. */
function agentDirectories(directory: string): readonly string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .map((host) => join(directory, host, 'agent'))
    .filter((stateDir) => existsSync(stateDir))
}

/** Sends SIGKILL and waits until the processes are gone. */
async function killAll(processes: readonly ProcessRecord[]): Promise<void> {
  for (const record of processes) signalProcess(record, 'SIGKILL')
  await waitUntilGone(processes, killLimitMs)
}

/** True when all of them ended within the time. */
export async function waitUntilGone(processes: readonly ProcessRecord[], limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs
  while (processes.some(isAlive)) {
    if (performance.now() > deadline) return false
    await sleepMs(10) // they are not our children: nothing tells of their end
  }
  return true
}
