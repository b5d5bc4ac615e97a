import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode } from '../../base/errors.ts'
import { cpuPeriodUs } from './spec.ts'

const mountPoint = '/sys/fs/cgroup'

/** How often a group that still has dying processes is tried again, and how long apart. */
const removal = { attempts: 100, pauseMs: 20 } as const

/** The control groups of one agent: all below one group of its own, in each hierarchy (version 1, 2 or both). */
export interface Cgroups {
  /** For the OCI configuration. */
  pathOf(containerId: string): string
  /** True when the kernel killed a process of the container for want of memory; false when it can't be told. */
  sawOutOfMemory(containerId: string): boolean
  /** Sets the hard limit of CPU time, where there is such a controller. */
  limitCpu(containerId: string, quotaUs: number): void
  /** Raises the limit of memory, where there is such a controller; never lowers it. */
  raiseMemory(containerId: string, bytes: number): void
  /** Kills what is left inside, then removes the container's groups. */
  remove(containerId: string): Promise<void>
  /** Removes the agent's own group if nothing is below it. */
  removeParent(): void
}

/**
 * Name of the top-level group of an agent: the node's, for a person who looks, and a hash of the state directory, by which
 * a sweep finds it and which two clusters on one machine do not share.
 */
export function cgroupParent(nodeName: string, stateDir: string): string {
  return `weft-${nodeName}-${cgroupSuffix(stateDir)}`
}

/** The part of {@link cgroupParent} that follows from the state directory alone. */
export function cgroupSuffix(stateDir: string): string {
  return createHash('sha256').update(stateDir).digest('hex').slice(0, 8)
}

/** Opens the groups below `/<parent>`. */
export function openCgroups(parent: string): Cgroups {
  const roots = hierarchies()
  const dirs = (path: string) => roots.map((root) => join(root, path)).filter((dir) => existsSync(dir))
  const pathOf = (containerId: string) => `/${parent}/${containerId}`
  return {
    pathOf,
    sawOutOfMemory: (containerId) => dirs(pathOf(containerId)).some(countsOutOfMemory),
    limitCpu: (containerId, quotaUs) => {
      for (const dir of dirs(pathOf(containerId))) writeQuota(dir, quotaUs)
    },
    raiseMemory: (containerId, bytes) => {
      for (const dir of dirs(pathOf(containerId))) writeMemory(dir, bytes)
    },
    remove: async (containerId) => {
      await Promise.all(dirs(pathOf(containerId)).map(removeTree))
    },
    removeParent: () => {
      for (const dir of dirs(parent)) removeEmpty(dir)
    },
  }
}

/** Every group of this machine, in any hierarchy, whose top-level name passes; without their mount points. */
export function findTopGroups(wanted: (name: string) => boolean): readonly string[] {
  const names = hierarchies().flatMap((root) => subdirectories(root).filter(wanted))
  return [...new Set(names)]
}

/** Removes a top-level group with all below it, killing what runs there. */
export async function removeTopGroup(name: string): Promise<void> {
  const dirs = hierarchies().map((root) => join(root, name))
  await Promise.all(dirs.filter((dir) => existsSync(dir)).map(removeTree))
}

/** The version 2 tree (or the folder of the version 1 trees) itself, and each version 1 tree. */
function hierarchies(): readonly string[] {
  if (!existsSync(mountPoint)) return []
  return [mountPoint, ...subdirectories(mountPoint).map((name) => join(mountPoint, name))].filter((dir) =>
    existsSync(join(dir, 'cgroup.procs')),
  )
}

function subdirectories(dir: string): readonly string[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}

/** `oom_kill N` in memory.oom_control (version 1) and memory.events (version 2). Source: cgroup-v1/memory.rst, cgroup-v2.rst. */
function countsOutOfMemory(dir: string): boolean {
  return ['memory.oom_control', 'memory.events'].some((file) => {
    const count = /^oom_kill (\d+)$/m.exec(readIfThere(join(dir, file)))?.[1]
    return count !== undefined && Number(count) > 0
  })
}

/** Source: scheduler/sched-bwc.rst for version 1, cgroup-v2.rst (cpu.max) for version 2. */
function writeQuota(dir: string, quotaUs: number): void {
  if (existsSync(join(dir, 'cpu.cfs_quota_us'))) {
    writeFileSync(join(dir, 'cpu.cfs_period_us'), `${cpuPeriodUs}`)
    writeFileSync(join(dir, 'cpu.cfs_quota_us'), `${quotaUs}`)
  } else if (existsSync(join(dir, 'cpu.max'))) {
    writeFileSync(join(dir, 'cpu.max'), `${quotaUs} ${cpuPeriodUs}`)
  }
}

/** Version 2 tells "max" where there is no limit. Source: cgroup-v1/memory.rst, cgroup-v2.rst. */
function writeMemory(dir: string, bytes: number): void {
  for (const name of ['memory.limit_in_bytes', 'memory.max']) {
    const limit = Number.parseInt(readIfThere(join(dir, name)), 10)
    if (limit < bytes) writeFileSync(join(dir, name), `${bytes}`)
  }
}

async function removeTree(dir: string): Promise<void> {
  for (let attempt = 0; attempt < removal.attempts; attempt++) {
    if (!existsSync(dir)) return
    for (const name of subdirectories(dir)) await removeTree(join(dir, name))
    if (removeEmpty(dir)) return
    killAll(dir)
    await pause(removal.pauseMs)
  }
}

function removeEmpty(dir: string): boolean {
  try {
    rmdirSync(dir)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    if (hasCode(error, 'EBUSY') || hasCode(error, 'ENOTEMPTY')) return false
    throw error
  }
}

function killAll(dir: string): void {
  for (const line of readIfThere(join(dir, 'cgroup.procs')).split('\n')) {
    const pid = Number(line)
    if (pid > 1) killIfThere(pid)
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // ENOENT, ENODEV: another controller's tree, or the group has gone
  }
}
