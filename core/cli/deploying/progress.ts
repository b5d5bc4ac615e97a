import { isRecord } from '../api.ts'

/** How far one app of a deployment is. */
export interface AppProgress {
  readonly id: string
  readonly wanted: number
  /** Instances of the new kind that have a place; of these, those with an address; of these, those that serve. */
  readonly placed: number
  readonly addressed: number
  readonly healthy: number
  /** Instances of the old kind that are still there. */
  readonly old: number
}

/** How far the nodes are with what the apps have come to. */
export interface NodeProgress {
  readonly version: number
  readonly reached: number
  readonly nodes: number
}

/** A deployment at one moment. */
export interface DeploymentProgress {
  readonly id: string
  readonly step: string
  readonly apps: readonly AppProgress[]
  /** Absent while instances are missing: names and virtual addresses follow them. */
  readonly nodes?: NodeProgress
  /** `/web web.1234: health: …`, the most important first. */
  readonly waitingFor: readonly string[]
}

type Row = Record<string, unknown>

/** An app as `GET /v2/apps/ID` tells it; undefined: it is gone. */
export function appProgress(id: string, app: Row | undefined): AppProgress {
  if (app === undefined) return { id, wanted: 0, placed: 0, addressed: 0, healthy: 0, old: 0 }
  const info = isRecord(app['versionInfo']) ? app['versionInfo'] : {}
  const all = rowsOf(app['tasks'])
  const current = all.filter(({ version }) => version === info['lastConfigChangeAt'])
  const isOnHost = rowsOf(app['networks']).every(({ mode }) => mode === 'host')
  const isChecked = rowsOf(app['healthChecks']).length > 0
  const addressed = current.filter((task) => isOnHost || rowsOf(task['ipAddresses']).length > 0)
  const healthy = addressed.filter(
    (task) =>
      task['state'] === 'TASK_RUNNING' &&
      (!isChecked || rowsOf(task['healthCheckResults']).some(({ alive }) => alive === true)),
  )
  return {
    id,
    wanted: Number(app['instances'] ?? 0),
    placed: current.length,
    addressed: addressed.length,
    healthy: healthy.length,
    old: all.length - current.length,
  }
}

/** A pod as `GET /v2/pods/ID::status` tells it. */
export function podProgress(id: string, status: Row): AppProgress {
  const spec = isRecord(status['spec']) ? status['spec'] : {}
  const scaling = isRecord(spec['scaling']) ? spec['scaling'] : {}
  const all = rowsOf(status['instances'])
  const version = `/v2/pods${id}::versions/${String(spec['version'])}`
  // An instance of a configuration that a mere scaling has kept names the version of that: nothing of it is old.
  const newest = all.some(({ specReference }) => specReference === version)
  const current = newest ? all.filter(({ specReference }) => specReference === version) : all
  return {
    id,
    wanted: Number(scaling['instances'] ?? 0),
    placed: current.length,
    addressed: current.filter(({ networks }) => rowsOf(networks).length > 0).length,
    healthy: current.filter((instance) => instance['status'] === 'STABLE').length,
    old: all.length - current.length,
  }
}

/** True when nothing of the app is missing or too much: what is left is that every node knows. */
export function isComplete({ wanted, placed, healthy, old }: AppProgress): boolean {
  return placed === wanted && healthy === wanted && old === 0
}

/** One line for each app; `seconds` since the command began. */
export function formatProgress({ apps, nodes, step }: DeploymentProgress, seconds: number): readonly string[] {
  const time = `${seconds.toFixed(1)} s`
  return apps.map((app) => `${formatApp(app)}  ${formatNodes(app, nodes)}  step ${step}  ${time}`)
}

function formatApp({ id, wanted, placed, addressed, healthy, old }: AppProgress): string {
  const rest = old === 0 ? '' : `  old ${old}`
  return `${id}  placed ${placed}/${wanted}  addressed ${addressed}/${wanted}  healthy ${healthy}/${wanted}${rest}`
}

function formatNodes(app: AppProgress, nodes: NodeProgress | undefined): string {
  if (nodes === undefined || !isComplete(app)) return 'named, balanced: not yet'
  return `named, balanced: on ${nodes.reached} of ${nodes.nodes} nodes`
}

/** The reasons of `GET /v2/deployments`, as text; those of one kind of one app together. */
export function formatReasons(waitingFor: unknown): readonly string[] {
  const counts = new Map<string, { readonly first: string; count: number }>()
  for (const { app, instance, for: why } of rowsOf(waitingFor)) {
    const key = `${String(app)} ${String(why)}`
    const known = counts.get(key)
    const who = instance === undefined ? String(app) : `${String(app)} (${String(instance)})`
    if (known === undefined) counts.set(key, { first: `${who}: ${String(why)}`, count: 1 })
    else known.count++
  }
  return [...counts.values()].map(({ first, count }) => (count === 1 ? first : `${first}, and ${count - 1} more`))
}

/** The objects of a list; none for anything else. */
export function rowsOf(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}
