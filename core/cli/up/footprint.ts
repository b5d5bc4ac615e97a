import { readdirSync, readFileSync } from 'node:fs'
import { hasCode } from '../../base/errors.ts'

/** What a cluster could leave behind on a machine, as sorted lists of names. */
export type Footprint = Readonly<Record<'namespaces' | 'links' | 'mounts' | 'cgroups' | 'processes', readonly string[]>>

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return []
    throw error
  }
}

/** Control groups of every hierarchy, two levels deep: ours are at the top. */
function cgroups(): readonly string[] {
  const top = '/sys/fs/cgroup'
  const roots = [top, ...list(top).map((entry) => `${top}/${entry}`)].filter((entry) => list(`${entry}/.`).length > 0)
  return roots.flatMap((root) =>
    list(root)
      .filter((entry) => entry.startsWith('weft'))
      .map((entry) => `${root}/${entry}`),
  )
}

/** Command lines of processes that a cluster of ours starts. */
function processes(directory: string): readonly string[] {
  return list('/proc')
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
        return line.includes(directory) ? [`${pid} ${line}`] : []
      } catch {
        return [] // ENOENT or ESRCH: it ended meanwhile
      }
    })
}

/** Reads what is there now. `directory` is the cluster's own: it tells its processes and mounts from others. */
export function readFootprint(cluster: string, directory: string): Footprint {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return {
    namespaces: list('/run/netns').filter((name) => name.startsWith(`weft-${cluster}-`)),
    links: list('/sys/class/net'),
    mounts: mounts.map((line) => line.split(' ')[4] ?? '').filter((target) => !isOfAnotherCluster(target, cluster)),
    cgroups: cgroups(),
    processes: processes(directory),
  }
}

/** Namespaces of clusters that come and go beside this one. */
function isOfAnotherCluster(target: string, cluster: string): boolean {
  return target === '' || (target.startsWith('/run/netns/') && !target.startsWith(`/run/netns/weft-${cluster}-`))
}

/** What `after` has and `before` had not: `links: wfv1024`. Empty when nothing was left. */
export function leftovers(before: Footprint, after: Footprint): readonly string[] {
  const kinds = Object.keys(after) as (keyof Footprint)[]
  return kinds.flatMap((kind) => {
    const known = new Set(before[kind])
    return after[kind].filter((name) => !known.has(name)).map((name) => `${kind}: ${name}`)
  })
}
