import { type AgentId } from '../model/ids.ts'
import { type Clock } from '../base/clock.ts'
import { type AppRecord, presentRecord } from './app.ts'
import { type Draft } from './draft.ts'
import { type AppId } from './ids.ts'
import { type Instance, isServing, stepInstance } from './instance.ts'
import { type AppPlan, type PlanTimes, planApp } from './plan.ts'
import { advanceDeployment, type FinishedDeployment, removeApp, type StepDone } from './turn-deployment.ts'
import { relaunchAtMs, tendClaims } from './turn-claims.ts'
import { type Memory } from './turn-observe.ts'

/** What planning found, to be done when the turn's write is through. */
export interface Planned {
  readonly kills: readonly Instance[]
  readonly finished: readonly FinishedDeployment[]
  readonly steps: readonly StepDone[]
  readonly removed: readonly AppId[]
  /** More instances wait for offers than before. */
  readonly moreWaiting: boolean
}

/** Nothing was planned. */
export const nothingPlanned: Planned = { kills: [], finished: [], steps: [], removed: [], moreWaiting: false }

/** What planning goes by. */
export interface PlanningOptions {
  readonly apps: Iterable<AppId>
  readonly times: PlanTimes
  readonly draining: ReadonlySet<AgentId>
  /** The last version that all nodes have that are waited for. */
  readonly convergedVersion: number
  /** Publishes what changed of the snapshot. @returns the version that has it */
  readonly publish: () => number
}

interface Found {
  readonly kills: Instance[]
  readonly finished: FinishedDeployment[]
  readonly steps: StepDone[]
  readonly removed: AppId[]
  moreWaiting: boolean
}

/** Plans each app and puts the changes of records into the draft; what a step of a deployment starts is planned as well. */
export function planApps(memory: Memory, draft: Draft, options: PlanningOptions): Planned {
  const found: Found = { kills: [], finished: [], steps: [], removed: [], moreWaiting: false }
  let apps = options.apps
  for (;;) {
    const done = new Set<string>()
    for (const id of apps) {
      const record = draft.app(id)
      if (record === undefined) continue
      const { plan, moreWaiting, isDone } = planOne(memory, draft, { record: presentRecord(record), options })
      for (const instance of plan.kills) found.kills.push(instance)
      found.moreWaiting ||= moreWaiting
      if (isDone) settle(draft, record, { done, removed: found.removed })
    }
    const started = advanceAll(draft, done, found)
    if (started.length === 0) return found
    apps = started
  }
}

/** @returns apps whose step begins */
function advanceAll(draft: Draft, deployments: Iterable<string>, found: Found): readonly AppId[] {
  const started: AppId[] = []
  for (const id of deployments) {
    const advance = advanceDeployment(draft, id)
    if (advance.kind === 'finished') {
      found.finished.push(advance.deployment)
      found.removed.push(...advance.removed)
    } else if (advance.kind === 'step') {
      found.steps.push(advance.step)
      started.push(...advance.started)
    }
  }
  return started
}

/** An app that is as it should be: its part of the deployment is done. One without a deployment that was to go, goes. */
function settle(
  draft: Draft,
  record: AppRecord,
  { done, removed }: { readonly done: Set<string>; readonly removed: AppId[] },
): void {
  const { deployment } = record
  if (deployment?.state === 'active') {
    draft.put({ kind: 'app.put', record: { ...record, deployment: { ...deployment, state: 'done' } } })
    done.add(deployment.id)
  } else if (deployment === undefined && record.goal === 'delete') {
    removeApp(draft, record)
    removed.push(record.definition.id)
  }
}

interface PlannedApp {
  readonly plan: AppPlan
  readonly moreWaiting: boolean
  /** Settled, and every node knows. */
  readonly isDone: boolean
}

interface OneApp {
  readonly record: AppRecord
  readonly options: PlanningOptions
}

function planOne(memory: Memory, draft: Draft, { record, options }: OneApp): PlannedApp {
  const { runtimes, clock, log } = memory
  const { times, draining, convergedVersion } = options
  const { id } = record.definition
  const { backoff, waiting } = runtimes.get(id)
  const instances = draft.instancesOf(id).map((instance) => shown(memory, instance, options))
  const plan = planApp({ record, instances, backoff, nowMs: clock.monotonicMs(), times, draining, convergedVersion })
  for (const instance of plan.lost) {
    log.warn({ taskId: instance.id }, 'giving up an instance that nobody knows')
    draft.put({ kind: 'instance.remove', instance })
  }
  for (const instance of plan.stops)
    draft.put({ kind: 'instance.put', instance: stepInstance(instance, { kind: 'stop' }) })
  tendClaims(draft, record, { waitingSinceMs: waiting?.sinceMs, nowMs: clock.nowMs() })
  const settledIn = plan.settled ? (runtimes.get(id).settledIn ?? options.publish()) : undefined
  runtimes.set(id, { wakeAtMs: wakeOf(plan, relaunchAtMs(record.definition, waiting?.sinceMs), clock), settledIn })
  const isDone = settledIn !== undefined && settledIn <= convergedVersion
  noteUnconverged(memory, record, { plan, settledIn: isDone ? undefined : settledIn })
  const want = { count: plan.launches, configVersion: record.configVersion }
  return { plan, moreWaiting: runtimes.setWaiting(id, want, clock.nowMs()), isDone }
}

/** The app is looked at again when its plan says so, and when its volumes are not to be waited for any longer. */
function wakeOf({ wakeAtMs }: AppPlan, relaunchMs: number | undefined, clock: Clock): number | undefined {
  if (relaunchMs === undefined) return wakeAtMs
  const inMs = Math.max(1_000, relaunchMs - clock.nowMs()) // when it is over: what is placed anew may wait for long
  return Math.min(wakeAtMs ?? Infinity, clock.monotonicMs() + inMs)
}

/** Since which version the nodes are told that it serves: the deployment goes on when they know. */
function shown({ world }: Memory, instance: Instance, { publish }: PlanningOptions): Instance {
  const { shownIn, ...rest } = instance
  if (isServing(instance) === (shownIn !== undefined)) return instance
  const next = shownIn === undefined ? { ...rest, shownIn: publish() } : rest
  // Nothing of it is in the record. What the draft has of it instead (it is to stop) does not serve.
  world.apply({ kind: 'instance.put', instance: next })
  return next
}

function noteUnconverged(
  { unconverged }: Memory,
  { definition: { id }, goal, deployment }: AppRecord,
  { plan, settledIn }: { readonly plan: AppPlan; readonly settledIn: number | undefined },
): void {
  const isChanging = deployment !== undefined || goal === 'delete'
  const version = Math.min(plan.awaitedVersion ?? Infinity, (isChanging ? settledIn : undefined) ?? Infinity)
  if (version === Infinity) unconverged.delete(id)
  else unconverged.set(id, version)
}
