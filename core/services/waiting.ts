import { type AppRecord } from './app.ts'
import { type MissingNode } from './convergence.ts'
import { dependenciesOf, type DependencyView } from './dependencies.ts'
import { type AppId, type GroupId, isBelow } from './ids.ts'
import { type Instance, isOccupying, isServing } from './instance.ts'
import { type NoOffers, noOffersText } from './no-offers.ts'
import { isHostMode } from './ports.ts'
import { type AppFacts } from './present.ts'
import { type WaitingFor } from './present-deployment.ts'
import { type AppRuntime } from './runtime.ts'

/** What the answer needs beside the app. */
export interface WaitingContext {
  readonly view: DependencyView
  /** Monotonic. */
  readonly nowMs: number
  /** What keeps offers back. */
  readonly noOffers?: readonly NoOffers[]
  /** Nodes that lack a version. */
  missing(version: number): readonly MissingNode[]
}

/** Why an app's part of a deployment is not done, in the order in which it would be done. */
export function waitingFor({ record, instances, runtime }: AppFacts, context: WaitingContext): readonly WaitingFor[] {
  const app = record.definition.id
  const { deployment } = record
  if (deployment === undefined || deployment.state === 'done') return []
  if (deployment.state === 'waiting') return blockers(record, context).map((text) => ({ app, for: text }))
  const ofApp = [...launchReasons(runtime, context), ...settledReasons(runtime, context)]
  const ofInstances = instances.flatMap((instance) =>
    instanceReasons(record, instance, context).map((text) => ({ app, instance: instance.id, for: text })),
  )
  return [...ofApp.map((text) => ({ app, for: text })), ...ofInstances]
}

function blockers(record: AppRecord, { view }: WaitingContext): readonly string[] {
  const { deployment, definition } = record
  const waits = dependenciesOf(view, definition.id).filter((path) =>
    appsAt(view, path).some((app) => {
      const other = view.app(app)?.deployment
      return other?.id === deployment?.id && other?.state !== 'done'
    }),
  )
  if (waits.length > 0) return [...new Set(waits)].map((path) => `dependency ${path}`)
  return [`step ${(deployment?.step ?? 1) - 1} of the deployment`]
}

function appsAt(view: DependencyView, path: string): readonly AppId[] {
  const app = path as AppId
  return view.app(app) === undefined
    ? [...view.appsBelow(path as GroupId)].filter((id) => isBelow(id, path as GroupId))
    : [app]
}

function launchReasons(
  { backoff, waiting, lastFailure }: AppRuntime,
  { nowMs, noOffers = [] }: WaitingContext,
): readonly string[] {
  const delayMs = backoff.untilMs - nowMs
  const last = lastFailure === undefined ? '' : `, the last: ${lastFailure.state} ${lastFailure.message}`
  const delay = delayMs > 0 ? [`delay: ${Math.ceil(delayMs / 1000)} s more, because instances failed${last}`] : []
  if (waiting === undefined) return delay
  const counts = new Map<string, number>()
  for (const reason of waiting.rejections.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1)
  const why = [...counts].map(([reason, count]) => `${reason} on ${count}`).join(', ')
  const kept = noOffers.flatMap((each) => noOffersText(each) ?? [])
  const text = [...(why === '' ? [] : [why]), ...kept].join('; ')
  return [...delay, `offer: ${waiting.count} not placed, ${text === '' ? 'no agent has offered yet' : text}`]
}

function settledReasons({ settledIn }: AppRuntime, context: WaitingContext): readonly string[] {
  return settledIn === undefined ? [] : convergenceReasons(settledIn, context)
}

function convergenceReasons(version: number, { missing }: WaitingContext): readonly string[] {
  return missing(version).map(
    ({ node, problem }) => `convergence: node ${node}${problem === undefined ? '' : ` (${problem})`}`,
  )
}

function instanceReasons(record: AppRecord, instance: Instance, context: WaitingContext): readonly string[] {
  if (!isOccupying(instance)) return []
  const own = ownReason(record, instance)
  if (own !== undefined) return [`${own} on ${instance.place.hostname}`]
  const { shownIn } = instance
  return isServing(instance) && shownIn !== undefined ? convergenceReasons(shownIn, context) : []
}

/** What an instance waits for on its agent. */
function ownReason(record: AppRecord, { phase, goal, networks }: Instance): string | undefined {
  if (goal.kind === 'stop' || phase.kind === 'killing') return 'end'
  if (phase.kind === 'recovered') return 'word of its agent'
  if (phase.kind === 'staged') return `start: ${phase.state}`
  if (phase.kind !== 'running') return undefined
  if (phase.health === 'unhealthy') return 'health: the last check failed'
  if (phase.health === 'pending') return 'health: no check has answered yet'
  return networks.length === 0 && !isHostMode(record.definition) ? 'address' : undefined
}
