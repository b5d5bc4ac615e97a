import { type AppId, ancestorsOf, type GroupId } from './ids.ts'
import { type WorldView } from './world.ts'

/** What order is read from. */
export type DependencyView = Pick<WorldView, 'app' | 'group' | 'appsBelow'>

/** A longer chain of dependencies is refused: nobody means it. */
const maxChain = 1_000

/** The order of some apps. */
export type Order =
  | { readonly kind: 'ordered'; readonly depth: ReadonlyMap<AppId, number> }
  /** Paths of apps and groups; the last depends on the first. */
  | { readonly kind: 'cycle'; readonly path: readonly string[] }

/** Paths that an app waits for: its own dependencies, and those of every group that it is in. */
export function dependenciesOf(view: DependencyView, app: AppId): readonly string[] {
  const own = view.app(app)?.definition.dependencies ?? []
  return [...own, ...ancestorsOf(app).flatMap((group) => view.group(group)?.dependencies ?? [])]
}

/** True when there is such an app, or a group. */
export function pathExists(view: DependencyView, path: string): boolean {
  return (
    view.app(path as AppId) !== undefined ||
    view.group(path as GroupId) !== undefined ||
    view.appsBelow(path as GroupId).size > 0
  )
}

/**
 * How many of `apps` must be done before each of them, one after the other: 0 for those that wait for none. Dependencies
 * lead through apps that are not of `apps` too. What does not exist is passed over. Costs what can be reached from `apps`.
 */
export function orderApps(view: DependencyView, apps: ReadonlySet<AppId>): Order {
  const heights = new Map<string, number>()
  const open = new Set<string>()
  let cycle: readonly string[] | undefined
  /** How many of `apps` are done one after the other until all of the node is. */
  const heightOf = (path: string): number => {
    const known = heights.get(path)
    if (known !== undefined || cycle !== undefined) return known ?? 0
    if (open.has(path) || open.size > maxChain) {
      cycle = open.has(path) ? [...open].slice([...open].indexOf(path)) : [...open]
      return 0
    }
    open.add(path)
    const isApp = view.app(path as AppId) !== undefined
    const next = isApp ? dependenciesOf(view, path as AppId) : view.appsBelow(path as GroupId)
    let height = 0
    for (const other of next) height = Math.max(height, heightOf(other))
    if (apps.has(path as AppId)) height += 1
    open.delete(path)
    heights.set(path, height)
    return height
  }
  const depth = new Map([...apps].map((app) => [app, heightOf(app) - 1]))
  return cycle === undefined ? { kind: 'ordered', depth } : { kind: 'cycle', path: cycle }
}
