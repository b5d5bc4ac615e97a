import { mangleDomain, mangleLabel } from '../dns/label.ts'
import { labelsOf, type Name } from '../dns/name.ts'
import { type NamedCluster } from './cluster.ts'
import { type NamesConfig } from './config.ts'
import { usableName } from './owned.ts'

/** Different things that got one name because labels are cut, and characters dropped. Both are served under it. */
export interface Collision {
  readonly name: Name
  /** `TASK of FRAMEWORK`, as they were called before. */
  readonly sources: readonly string[]
}

/** How many are told; more are of the same kind. */
const maxCollisions = 100

/** Names that several different tasks or VIPs share without wanting to, in the order of names. */
export function findCollisions(cluster: NamedCluster, config: NamesConfig): readonly Collision[] {
  const sources = new Map<Name, Set<string>>()
  const add = (name: Name | undefined, source: string) => {
    if (name === undefined) return
    const list = sources.get(name)
    if (list === undefined) sources.set(name, new Set([source]))
    else list.add(source)
  }
  const domain = labelsOf(config.domain)
  for (const task of cluster.tasks.values()) {
    const shown = task.discovery !== undefined && task.discovery.name !== '' ? task.discovery.name : task.name
    const labels = [mangleLabel(shown, config.labels), ...mangleDomain(task.framework, config.labels)]
    add(usableName([...labels, ...domain]), `${shown} of ${task.framework}`)
  }
  for (const { name, framework } of cluster.vips.values()) {
    const labels = [mangleLabel(name), ...mangleDomain(framework, config.labels), 'l4lb', 'thisdcos', 'directory']
    add(usableName(labels), `${name} of ${framework}`)
  }
  return [...sources]
    .filter(([, list]) => list.size > 1)
    .map(([name, list]) => ({ name, sources: [...list].sort() }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .slice(0, maxCollisions)
}
