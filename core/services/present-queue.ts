import { type JsonObject } from '../scheduling/json.ts'
import { countReasons, funnel } from '../scheduling/offers.ts'
import { type NoOffers, noOffersText } from './no-offers.ts'
import { podJson } from './pods-present.ts'
import { appJson, type AppFacts } from './present.ts'
import { type UnusedOffer, type Waiting } from './runtime.ts'

/** What GET /v2/queue is to say of an app. */
export interface QueueOptions {
  /** Instances that are wanted and not there. */
  readonly missing: number
  /** Monotonic. */
  readonly nowMs: number
  readonly embed: 'with-offers' | 'without-offers'
  /** What keeps offers back; `noOffers` of the answer is ours. */
  readonly noOffers?: readonly NoOffers[]
}

/**
 * An app that waits, as GET /v2/queue has it: how many instances, and why. Undefined for an app that waits for nothing.
 * More are missing than wait for offers while the app is backing off.
 */
export function queueJson(
  { record, runtime }: AppFacts,
  { missing, nowMs, embed, noOffers = [] }: QueueOptions,
): JsonObject | undefined {
  const { waiting, backoff } = runtime
  const delayMs = Math.max(0, backoff.untilMs - nowMs)
  if (missing === 0 || (waiting === undefined && delayMs === 0)) return undefined
  return {
    count: missing,
    delay: { timeLeftSeconds: Math.ceil(delayMs / 1000), overdue: delayMs === 0 },
    ...(waiting === undefined ? {} : { since: new Date(waiting.sinceMs).toISOString() }),
    ...(record.definition.pod === undefined
      ? { app: appJson({ record, runtime, instances: [] }, new Set()) }
      : { pod: podJson(record) }),
    processedOffersSummary: offersSummary(waiting),
    ...(waiting === undefined || noOffers.length === 0 ? {} : { noOffers: noOffers.map(noOffersJson) }),
    ...(embed === 'with-offers' ? { lastUnusedOffers: (waiting?.unused ?? []).map(unusedOfferJson) } : {}),
  }
}

function noOffersJson(noOffers: NoOffers): JsonObject {
  const text = noOffersText(noOffers)
  return { ...noOffers, ...(text === undefined ? {} : { message: text }) }
}

function offersSummary(waiting: Waiting | undefined): JsonObject {
  return {
    processedOffersCount: waiting?.processedOffers ?? 0,
    unusedOffersCount: waiting?.unusedOffers ?? 0,
    lastUnusedOfferAt: timeOrNull(waiting?.lastUnusedAtMs),
    lastUsedOfferAt: timeOrNull(waiting?.lastUsedAtMs),
    rejectSummaryLastOffers: funnel(countReasons(waiting?.rejections.values() ?? [])),
    rejectSummaryLaunchAttempt: funnel(waiting?.attempt ?? new Map()),
  }
}

/** An offer as Marathon shows one. Source: marathon, types/offer.raml. */
function unusedOfferJson({ pool, reason, atMs }: UnusedOffer): JsonObject {
  const { cpuMillis, memMb, diskMb, ports } = pool.resources
  const scalar = (name: string, value: number) => ({ name, role: pool.role, scalar: value })
  return {
    offer: {
      id: pool.offerIds[0] ?? '',
      agentId: pool.agentId,
      hostname: pool.place.hostname,
      resources: [
        scalar('cpus', cpuMillis / 1000),
        scalar('mem', memMb),
        scalar('disk', diskMb),
        { name: 'ports', role: pool.role, ranges: ports.map(({ begin, end }) => ({ begin, end })) },
      ],
      attributes: Object.entries(pool.place.attributes).map(([name, text]) => ({ name, text })),
    },
    reason: [reason],
    timestamp: new Date(atMs).toISOString(),
  }
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}
