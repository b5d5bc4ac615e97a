import { type AppRecord, type Deployment } from './app.ts'
import { type JsonObject } from './json.ts'
import { rejectReasons } from './match.ts'
import { appJson, type AppFacts } from './present.ts'
import { type Waiting } from './runtime.ts'
import { formatVersion } from './version.ts'

/**
 * An app that waits, as GET /v2/queue has it: how many instances, and why. Undefined for an app that waits for nothing.
 * `missing`: instances that are wanted and not there; more than wait for offers while the app is backing off.
 */
export function queueJson(
  { record, runtime }: AppFacts,
  { missing, nowMs }: { readonly missing: number; readonly nowMs: number },
): JsonObject | undefined {
  const { waiting, backoff } = runtime
  const delayMs = Math.max(0, backoff.untilMs - nowMs)
  if (missing === 0 || (waiting === undefined && delayMs === 0)) return undefined
  return {
    count: missing,
    delay: { timeLeftSeconds: Math.ceil(delayMs / 1000), overdue: delayMs === 0 },
    ...(waiting === undefined ? {} : { since: new Date(waiting.sinceMs).toISOString() }),
    app: appJson({ record, runtime, instances: [] }, new Set()),
    processedOffersSummary: offersSummary(waiting),
  }
}

function offersSummary(waiting: Waiting | undefined): JsonObject {
  return {
    processedOffersCount: waiting?.processedOffers ?? 0,
    unusedOffersCount: waiting?.unusedOffers ?? 0,
    lastUnusedOfferAt: timeOrNull(waiting?.lastUnusedAtMs),
    lastUsedOfferAt: timeOrNull(waiting?.lastUsedAtMs),
    rejectSummaryLastOffers: funnel([...(waiting?.rejections.values() ?? [])]),
  }
}

/** Each check sees the offers that all checks before it let through. */
function funnel(reasons: readonly string[]): readonly JsonObject[] {
  let processed = reasons.length
  return rejectReasons.map((reason) => {
    const declined = reasons.filter((other) => other === reason).length
    const step = { reason, declined, processed }
    processed -= declined
    return step
  })
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}

/** A deployment as GET /v2/deployments has it, with the apps of it that are not done. */
export function deploymentJson({ id }: Deployment, records: readonly AppRecord[]): JsonObject {
  const actions = records.flatMap(({ definition, deployment }) =>
    deployment === undefined ? [] : [{ action: deployment.action, app: definition.id }],
  )
  return {
    id,
    version: formatVersion(Math.max(...records.map(({ version }) => version))),
    affectedApps: records.map(({ definition }) => definition.id),
    affectedPods: [],
    steps: [{ actions }],
    currentActions: actions.map((action) => ({ ...action, readinessCheckResults: [] })),
    currentStep: 1,
    totalSteps: 1,
  }
}
