import { type AgentId } from '../model/ids.ts'
import { type AppRecord, wantedInstances } from './app.ts'
import { type Backoff } from './backoff.ts'
import { type Instance, isActive, isOccupying, isServing } from './instance.ts'
import { isResident } from './residency.ts'
import { isAwaited, unreachableTimes } from './unreachable.ts'

/** What is to be done for one app now. */
export interface AppPlan {
  /** New instances that may be launched at once, given offers. */
  readonly launches: number
  /** Instances to stop from now on. */
  readonly stops: readonly Instance[]
  /** Instances whose kill is to be sent: those of `stops`, and those that did not end after an earlier kill. */
  readonly kills: readonly Instance[]
  /** Instances of which there was no word for too long. */
  readonly lost: readonly Instance[]
  /** All is as it should be, here and on the agents. */
  readonly settled: boolean
  /** An instance serves since this version of the snapshot, and not every node has it yet; the lowest one. */
  readonly awaitedVersion?: number
  /** Monotonic time of the next look, when nothing happens before. */
  readonly wakeAtMs?: number
}

/** Times that the plan goes by. Milliseconds. */
export interface PlanTimes {
  /** A staged instance that has not run by then is killed. Source: marathon, task_launch_timeout. */
  readonly launchTimeoutMs: number
  /** A recovered instance that nobody knows by then is given up; longer than agents need to come back. */
  readonly recoveryTimeoutMs: number
  /** A kill is sent again after the grace period and this. Source: marathon, kill_retry_timeout. */
  readonly killRetryMs: number
}

/** Marathon's, and mesos-core.md's 75 s for agents. */
export const defaultPlanTimes: PlanTimes = { launchTimeoutMs: 300_000, recoveryTimeoutMs: 90_000, killRetryMs: 10_000 }

/** Everything that one app's plan depends on. */
export interface PlanInput {
  readonly record: AppRecord
  readonly instances: readonly Instance[]
  readonly backoff: Backoff
  readonly nowMs: number
  readonly times: PlanTimes
  /** Agents that are being emptied. */
  readonly draining?: ReadonlySet<AgentId>
  /** The last version of the snapshot that every node has; absent: nodes are not waited for. */
  readonly convergedVersion?: number
}

/**
 * Level-triggered: from what is wanted and what is there, whatever happened before. Instances of the present
 * configuration are brought to the wanted number, at most n·(1 + maximumOverCapacity) of all at a time; outdated ones
 * are stopped while ceil(n·minimumHealthCapacity) keep serving, and are known to serve on every node. When both numbers are n, one more than n is allowed,
 * as Marathon does: otherwise nothing could ever be replaced.
 */
export function planApp(input: PlanInput): AppPlan {
  const { record, nowMs, times, backoff } = input
  const lost = input.instances.filter((instance) => {
    const { phase } = instance
    if (phase.kind === 'recovered') return isDue(phase.sinceMs, times.recoveryTimeoutMs, nowMs)
    return unreachableTimes(record.definition, instance).forgetAtMs <= nowMs
  })
  const alive = lost.length === 0 ? input.instances : input.instances.filter((instance) => !lost.includes(instance))
  const stops = planStops({ ...input, instances: alive })
  const launches = nowMs < backoff.untilMs ? 0 : launchCount(input, alive, new Set(stops))
  const kills = [...stops, ...alive.filter((instance) => needsKill(instance, input))].filter(canHear)
  const settled = isSettled(input, alive) && stops.length === 0
  const wakeAtMs = nextWake({ ...input, instances: alive }, new Set(stops))
  const awaitedVersion = firstUnknown(alive, input.convergedVersion)
  return {
    ...{ launches, stops, kills, lost, settled },
    ...(wakeAtMs === undefined ? {} : { wakeAtMs }),
    ...(awaitedVersion === undefined ? {} : { awaitedVersion }),
  }
}

/** The master does not know a recovered one until its agent is back, and keeps no kill for it: then is the time to ask. */
function canHear(instance: Instance): boolean {
  return isOccupying(instance) && instance.phase.kind !== 'recovered'
}

function isDue(sinceMs: number, afterMs: number, nowMs: number): boolean {
  return nowMs - sinceMs >= afterMs
}

/** True when every node knows that it serves. */
export function isKnown({ shownIn }: Instance, convergedVersion = Infinity): boolean {
  return convergedVersion === Infinity || (shownIn !== undefined && shownIn <= convergedVersion)
}

function firstUnknown(alive: readonly Instance[], convergedVersion: number | undefined): number | undefined {
  const versions = alive.flatMap((instance) =>
    isServing(instance) && !isKnown(instance, convergedVersion) ? (instance.shownIn ?? []) : [],
  )
  return versions.length === 0 ? undefined : versions.reduce((a, b) => Math.min(a, b))
}

/** Of the present configuration, and on an agent that stays: one on an agent that is being emptied is replaced like an outdated one. */
function isCurrent({ record, draining }: Pick<PlanInput, 'record' | 'draining'>, instance: Instance): boolean {
  if (draining?.has(instance.agentId)) return false
  return record.mixed === true || instance.configVersion === record.configVersion
}

function limits(record: AppRecord): { readonly minServing: number; readonly maxTotal: number } {
  const wanted = wantedInstances(record)
  const { minimumHealthCapacity, maximumOverCapacity } = record.definition.upgradeStrategy
  const least = Math.ceil(wanted * minimumHealthCapacity)
  // One that keeps its volume is stopped before it is started anew: one at a time at least, or nothing could be replaced.
  const minServing = isResident(record.definition) ? Math.max(0, Math.min(least, wanted - 1)) : least
  return { minServing, maxTotal: Math.floor(wanted * (1 + maximumOverCapacity)) }
}

/** Current instances that are out of reach for so short a time that they are not replaced yet. */
function awaited(input: PlanInput, alive: readonly Instance[]): number {
  const { record, nowMs } = input
  if (record.goal === 'delete') return 0
  return alive.filter((instance) => isCurrent(input, instance) && isAwaited(record.definition, instance, nowMs)).length
}

function launchCount(input: PlanInput, alive: readonly Instance[], stops: ReadonlySet<Instance>): number {
  const { record } = input
  const { minServing, maxTotal } = limits(record)
  const wanted = wantedInstances(record)
  const staying = alive.filter((instance) => isActive(instance) && !stops.has(instance))
  const missing = wanted - awaited(input, alive) - staying.filter((instance) => isCurrent(input, instance)).length
  const outdated = staying.some((instance) => !isCurrent(input, instance))
  const room = outdated && minServing >= maxTotal ? maxTotal + 1 : maxTotal
  return Math.max(0, Math.min(missing, room - alive.filter(isOccupying).length))
}

/** Too long in staging; too many; outdated, as far as enough others serve. */
function planStops(input: PlanInput): readonly Instance[] {
  const { record, instances, nowMs, times } = input
  const stuck = instances.filter(({ phase, goal }) => {
    return goal.kind === 'run' && phase.kind === 'staged' && isDue(phase.sinceMs, times.launchTimeoutMs, nowMs)
  })
  const active = instances.filter((instance) => isActive(instance) && !stuck.includes(instance))
  const current = active.filter((instance) => isCurrent(input, instance))
  const excess = Math.max(0, current.length - wantedInstances(record))
  const surplus = new Set(excess === 0 ? [] : inKillOrder(current, record).slice(0, excess))
  const kept = active.filter((instance) => !surplus.has(instance))
  return [...stuck, ...surplus, ...outdatedStops(input, kept)]
}

function outdatedStops(input: PlanInput, active: readonly Instance[]): readonly Instance[] {
  const { record, convergedVersion } = input
  const outdated = active.filter((instance) => !isCurrent(input, instance))
  const answering = active.filter((instance) => isServing(instance) && isKnown(instance, convergedVersion))
  let spare = answering.length - limits(record).minServing
  return inKillOrder(outdated, record).filter((instance) => {
    // What a recovered one does is not known yet: it may be the one that serves.
    if (instance.phase.kind === 'recovered') return wantedInstances(record) === 0
    if (!isServing(instance)) return true
    spare -= 1
    return spare >= 0
  })
}

/** Those that do not serve first, then by the app's kill selection. */
function inKillOrder(instances: readonly Instance[], record: AppRecord): readonly Instance[] {
  const sign = record.definition.killSelection === 'YOUNGEST_FIRST' ? -1 : 1
  return instances.toSorted((a, b) => {
    const byServing = Number(isServing(a)) - Number(isServing(b))
    if (byServing !== 0) return byServing
    const byAge = sign * (a.createdAtMs - b.createdAtMs)
    return byAge !== 0 ? byAge : a.id < b.id ? -1 : 1
  })
}

function killRetryAtMs({ goal, phase }: Instance, { record, times }: PlanInput): number | undefined {
  const patienceMs = record.definition.taskKillGracePeriodSeconds * 1000 + times.killRetryMs
  // Asked for by an earlier leader that may have ended before its agent was told: the new one does not know of the wish.
  if (goal.kind === 'run') return phase.kind === 'killing' ? phase.sinceMs + patienceMs : undefined
  if (!['staged', 'running', 'killing'].includes(phase.kind)) return undefined
  return goal.askedAtMs === undefined ? 0 : goal.askedAtMs + patienceMs
}

function needsKill(instance: Instance, input: PlanInput): boolean {
  const atMs = killRetryAtMs(instance, input)
  return atMs !== undefined && atMs <= input.nowMs
}

/** Unreachable instances are not waited for: nobody can say when they come back. */
function isSettled(input: PlanInput, instances: readonly Instance[]): boolean {
  const { record } = input
  const reachable = instances.filter(isOccupying)
  return (
    reachable.length + awaited(input, instances) === wantedInstances(record) &&
    reachable.every((instance) => isCurrent(input, instance) && isServing(instance))
  )
}

function nextWake(input: PlanInput, stops: ReadonlySet<Instance>): number | undefined {
  const { instances, nowMs, times, backoff } = input
  const deadlines = instances.flatMap((instance) => {
    const { phase, goal } = instance
    if (stops.has(instance)) return []
    if (phase.kind === 'recovered') return [phase.sinceMs + times.recoveryTimeoutMs]
    if (phase.kind === 'unreachable') {
      const { replaceAtMs, forgetAtMs } = unreachableTimes(input.record.definition, instance)
      return [replaceAtMs, forgetAtMs].filter(Number.isFinite)
    }
    if (phase.kind === 'staged' && goal.kind === 'run') return [phase.sinceMs + times.launchTimeoutMs]
    const retryAtMs = killRetryAtMs(instance, input)
    return retryAtMs === undefined ? [] : [retryAtMs]
  })
  const future = [...deadlines, backoff.untilMs].filter((atMs) => atMs > nowMs)
  return future.length === 0 ? undefined : future.reduce((a, b) => Math.min(a, b))
}
