import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cgroupSuffix } from '../../agent/containerizer/cgroup.ts'
import { hasCode } from '../../base/errors.ts'
import { runDirectory } from './layout.ts'

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

/** More agents than a machine has room for. */
const mostAgents = 200

/** Control groups of the cluster's agents in every hierarchy: they are at the top. */
function cgroups(directory: string): readonly string[] {
  const suffixes = new Set<string>()
  for (let i = 1; i <= mostAgents; i++) suffixes.add(cgroupSuffix(join(directory, `agent${i}`, 'agent')))
  const top = '/sys/fs/cgroup'
  const roots = [top, ...list(top).map((entry) => `${top}/${entry}`)].filter((entry) => list(`${entry}/.`).length > 0)
  return roots.flatMap((root) =>
    list(root)
      .filter((entry) => entry.startsWith('weft') && suffixes.has(entry.slice(entry.lastIndexOf('-') + 1)))
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
    mounts: mounts
      .map((line) => line.split(' ')[4] ?? '')
      .filter((target) => !isOfAnotherCluster(target, { cluster, directory })),
    cgroups: cgroups(directory),
    processes: processes(directory),
  }
}

/** Namespaces and folders of clusters that come and go beside this one. */
function isOfAnotherCluster(target: string, own: { readonly cluster: string; readonly directory: string }): boolean {
  const beside = (folder: string, mine: string) => target.startsWith(`${folder}/`) && !target.startsWith(mine)
  return (
    target === '' ||
    beside('/run/netns', `/run/netns/weft-${own.cluster}-`) ||
    beside(runDirectory, `${own.directory}/`)
  )
}

/** What `after` has and `before` had not: `links: wfv1024`. Empty when nothing was left. */
export function leftovers(before: Footprint, after: Footprint): readonly string[] {
  const kinds = Object.keys(after) as (keyof Footprint)[]
  return kinds.flatMap((kind) => {
    const known = new Set(before[kind])
    return after[kind].filter((name) => !known.has(name)).map((name) => `${kind}: ${name}`)
  })
}
