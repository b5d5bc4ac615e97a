import { type AgentId, type TaskId } from '../model/ids.ts'
import { type TaskState } from '../model/task.ts'
import { type Backoff, noBackoff } from './backoff.ts'
import { type AppId } from './ids.ts'
import { countReasons, type OfferPool, type RejectReason } from '../scheduling/offers.ts'

/** The last task of an app that ended unasked. */
export interface TaskFailure {
  readonly taskId: TaskId
  readonly state: TaskState
  readonly message: string
  readonly host: string
  readonly agentId: AgentId
  readonly timestampMs: number
  readonly configVersion: number
}

/** An agent's offers that did not do for an app, and why. */
export interface UnusedOffer {
  readonly pool: OfferPool
  readonly reason: RejectReason
  /** Wall clock. */
  readonly atMs: number
}

/** So many unused offers are shown. Source: marathon, max_queued_offers. */
const maxUnused = 10

/** Instances of an app that wait for offers, and why the last offers did not do. */
export interface Waiting {
  readonly count: number
  /** What they are launched from: another one may fit where the last did not. */
  readonly configVersion: number
  /** Wall clock. */
  readonly sinceMs: number
  /** The reason of each agent, by its last offer. */
  readonly rejections: ReadonlyMap<AgentId, RejectReason>
  /** How often each reason was given since it began to wait. */
  readonly attempt: ReadonlyMap<RejectReason, number>
  /** The last offers that did not do, the latest last. */
  readonly unused: readonly UnusedOffer[]
  readonly processedOffers: number
  readonly unusedOffers: number
  readonly lastUnusedAtMs?: number
  readonly lastUsedAtMs?: number
}

/** What is known of an app in this process only: a new leader starts without it. */
export interface AppRuntime {
  readonly backoff: Backoff
  readonly waiting?: Waiting | undefined
  readonly lastFailure?: TaskFailure
  /** Monotonic time of the next look. */
  readonly wakeAtMs?: number | undefined
  /** Version of the snapshot in which it became what it should be; absent while it is not. */
  readonly settledIn?: number | undefined
}

const fresh: AppRuntime = { backoff: noBackoff }

/** The runtime of each app. */
export interface Runtimes {
  get(id: AppId): AppRuntime
  set(id: AppId, change: Partial<AppRuntime>): void
  forget(id: AppId): void
  /** Sets what waits; a count of 0 ends the waiting. @returns whether more, or others, wait than before */
  setWaiting(id: AppId, want: Pick<Waiting, 'count' | 'configVersion'>, nowMs: number): boolean
  /** Apps that wait, the longest first. */
  waiting(): readonly AppId[]
  /** Apps whose time has come, and the next time after that. */
  due(nowMs: number): readonly AppId[]
  nextWakeMs(): number | undefined
}

/** Nothing known of any app. */
export function makeRuntimes(): Runtimes {
  const all = new Map<AppId, AppRuntime>()
  const waiting = new Set<AppId>()
  const wakes = new Map<AppId, number>()
  const get = (id: AppId): AppRuntime => all.get(id) ?? fresh
  return {
    get,
    set: (id, change) => {
      const { wakeAtMs, ...rest } = { ...get(id), ...change }
      all.set(id, { ...rest, ...(wakeAtMs === undefined ? {} : { wakeAtMs }) })
      if (wakeAtMs === undefined) wakes.delete(id)
      else wakes.set(id, wakeAtMs)
    },
    forget: (id) => {
      all.delete(id)
      waiting.delete(id)
      wakes.delete(id)
    },
    setWaiting: (id, want, nowMs) => {
      const { waiting: before, ...rest } = get(id)
      if (want.count === 0) {
        waiting.delete(id)
        all.set(id, rest)
        return false
      }
      waiting.add(id)
      const same = before?.configVersion === want.configVersion ? before : undefined
      all.set(id, { ...rest, waiting: { ...(same ?? newWaiting(nowMs)), ...want } })
      return want.count > (same?.count ?? 0)
    },
    waiting: () => [...waiting],
    due: (nowMs) => [...wakes].filter(([, atMs]) => atMs <= nowMs).map(([id]) => id),
    nextWakeMs: () => (wakes.size === 0 ? undefined : [...wakes.values()].reduce((a, b) => Math.min(a, b))),
  }
}

function newWaiting(nowMs: number): Omit<Waiting, 'count' | 'configVersion'> {
  return { sinceMs: nowMs, rejections: new Map(), attempt: new Map(), unused: [], processedOffers: 0, unusedOffers: 0 }
}

/** What the offers of one turn did for an app that waits. */
export function afterOffers(waiting: Waiting, { placed, pools, rejections, nowMs }: OfferOutcome): Waiting {
  const unused = pools.flatMap((pool) => {
    const reason = rejections.get(pool.agentId)
    return reason === undefined ? [] : [{ pool, reason, atMs: nowMs }]
  })
  return {
    ...waiting,
    count: waiting.count - placed,
    rejections: new Map([...waiting.rejections, ...rejections]),
    attempt: countReasons(rejections.values(), waiting.attempt),
    unused: [...waiting.unused, ...unused].slice(-maxUnused),
    processedOffers: waiting.processedOffers + pools.length,
    unusedOffers: waiting.unusedOffers + rejections.size,
    ...(rejections.size > 0 ? { lastUnusedAtMs: nowMs } : {}),
    ...(placed > 0 ? { lastUsedAtMs: nowMs } : {}),
  }
}

/** Input of {@link afterOffers}. */
export interface OfferOutcome {
  readonly placed: number
  /** What was offered. */
  readonly pools: readonly OfferPool[]
  readonly rejections: ReadonlyMap<AgentId, RejectReason>
  /** Wall clock. */
  readonly nowMs: number
}
