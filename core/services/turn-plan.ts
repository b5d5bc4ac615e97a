import { type Deployment, type AppRecord } from './app.ts'
import { type AppId } from './ids.ts'
import { type Instance, isOccupying, stepInstance } from './instance.ts'
import { type AppPlan, type PlanTimes, planApp } from './plan.ts'
import { type Memory } from './turn-observe.ts'
import { type Draft } from './world.ts'

/** What planning found, to be done when the turn's write is through. */
export interface Planned {
  readonly kills: readonly Instance[]
  readonly finished: readonly { readonly record: AppRecord; readonly deployment: Deployment }[]
  readonly removed: readonly AppId[]
  /** More instances wait for offers than before. */
  readonly moreWaiting: boolean
}

/** Plans each app once and puts the changes of records into the draft. */
export function planApps(
  memory: Memory,
  draft: Draft,
  options: { readonly apps: Iterable<AppId>; readonly times: PlanTimes },
): Planned {
  const kills: Instance[] = []
  const finished: Planned['finished'][number][] = []
  const removed: AppId[] = []
  let moreWaiting = false
  for (const id of options.apps) {
    const record = draft.app(id)
    if (record === undefined) continue
    const plan = planOne(memory, draft, { record, times: options.times })
    kills.push(...plan.kills)
    const want = { count: plan.launches, configVersion: record.configVersion }
    if (memory.runtimes.setWaiting(id, want, memory.clock.nowMs())) moreWaiting = true
    if (!plan.settled) continue
    if (record.deployment !== undefined) finished.push({ record, deployment: record.deployment })
    if (record.goal === 'delete') removed.push(id)
    settle(draft, record)
  }
  return { kills, finished, removed, moreWaiting }
}

function planOne(
  { runtimes, clock, log }: Memory,
  draft: Draft,
  { record, times }: { readonly record: AppRecord; readonly times: PlanTimes },
): AppPlan {
  const { id } = record.definition
  const { backoff } = runtimes.get(id)
  const plan = planApp({ record, instances: draft.instancesOf(id), backoff, nowMs: clock.monotonicMs(), times })
  for (const instance of plan.lost) {
    log.warn({ taskId: instance.id }, 'giving up an instance that nobody knows')
    draft.put({ kind: 'instance.remove', instance })
  }
  for (const instance of plan.stops)
    draft.put({ kind: 'instance.put', instance: stepInstance(instance, { kind: 'stop' }) })
  runtimes.set(id, { wakeAtMs: plan.wakeAtMs })
  return plan
}

/** The deployment is over; an app that was to go has gone, with what is known of instances that nobody can reach. */
function settle(draft: Draft, record: AppRecord): void {
  const { deployment, ...rest } = record
  if (record.goal === 'run') {
    if (deployment !== undefined) draft.put({ kind: 'app.put', record: rest })
    return
  }
  const { id } = record.definition
  for (const instance of draft.instancesOf(id)) {
    if (!isOccupying(instance)) draft.put({ kind: 'instance.remove', instance })
  }
  draft.put({ kind: 'app.remove', id })
}
