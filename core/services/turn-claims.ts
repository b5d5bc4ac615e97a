import { type FrameworkId, parseTaskId, type TaskId } from '../model/ids.ts'
import { type Reservation } from '../model/reservation.ts'
import { type OfferOperation } from '../model/scheduler.ts'
import { type OfferPool } from '../scheduling/offers.ts'
import { type AppRecord } from './app.ts'
import { type Claim, claimIdOf, claimLabels, volumesFor } from './claim.ts'
import { type Draft } from './draft.ts'
import { type AppId, appIdOfTask } from './ids.ts'
import { type Placement } from './place.ts'
import { freeClaims } from './place-resident.ts'
import { isResident, persistentVolumes } from './residency.ts'

/**
 * What an app's claims have become: there, once a task of theirs runs; nothing, when their first task has ended before that
 * (what may be reserved all the same is given back when it is offered); not waited for any longer, when the app says so.
 */
export function tendClaims(
  draft: Draft,
  { definition }: AppRecord,
  { waitingSinceMs, nowMs }: { readonly waitingSinceMs: number | undefined; readonly nowMs: number },
): void {
  const claims = draft.claimsOf(definition.id)
  if (claims.length === 0) return
  const instances = draft.instancesOf(definition.id)
  for (const claim of claims.filter(({ state }) => state === 'new')) {
    const own = instances.find((instance) => instance.claim === claim.id)
    if (own === undefined) draft.put({ kind: 'claim.remove', claim })
    else if (own.phase.kind === 'running') draft.put({ kind: 'claim.put', claim: { ...claim, state: 'kept' } })
  }
  const atMs = relaunchAtMs(definition, waitingSinceMs)
  if (atMs === undefined || nowMs < atMs) return
  for (const claim of freeClaims(claims, instances)) {
    draft.put({ kind: 'claim.put', claim: { ...claim, state: 'leaving' } })
  }
}

/** Wall clock: when an app that waits for its claims is to get new ones elsewhere; undefined: never. */
export function relaunchAtMs(
  definition: AppRecord['definition'],
  waitingSinceMs: number | undefined,
): number | undefined {
  const { residency } = definition
  if (waitingSinceMs === undefined || residency?.taskLostBehavior !== 'RELAUNCH_AFTER_TIMEOUT') return undefined
  return isResident(definition) ? waitingSinceMs + residency.relaunchEscalationTimeoutSeconds * 1000 : undefined
}

/** The claim of a first task, on resources that are not reserved yet. */
export function newClaim(
  { record, pool, resources }: Placement,
  { id, uuid, frameworkId }: { readonly id: TaskId; readonly uuid: string; readonly frameworkId: FrameworkId },
): Claim {
  const reservation: Reservation = {
    ...{ role: pool.role, kind: 'dynamic', principal: '', labels: claimLabels(frameworkId, id) },
    resources: { ...resources, ports: [] },
    volumes: volumesFor(persistentVolumes(record.definition), uuid),
  }
  const { agentId, place } = pool
  return { id, appId: record.definition.id, agentId, place, reservation, state: 'new' }
}

/** What makes a claim: RESERVE, then CREATE. */
export function claimOperations({ reservation }: Claim): readonly OfferOperation[] {
  const { volumes } = reservation
  const bare = { ...reservation, volumes: [] }
  return [
    { kind: 'reserve', reservations: [bare] },
    { kind: 'create', reservation: bare, volumes },
  ]
}

/**
 * DESTROY and UNRESERVE for what is offered of claims that are to go, and of those that nobody knows: the leader that asked
 * for them did not live to see it.
 */
export function giveBack(draft: Draft, pool: OfferPool, frameworkId: FrameworkId): readonly OfferOperation[] {
  return (pool.reserved ?? []).flatMap((reservation) => {
    const id = claimIdOf(reservation, frameworkId)
    const app = id === undefined ? undefined : appOf(id)
    if (id === undefined || app === undefined) return []
    const claim = draft.claimsOf(app).find((one) => one.id === id)
    if (claim !== undefined && claim.state !== 'leaving') return []
    if (claim !== undefined) draft.put({ kind: 'claim.remove', claim })
    return endOf(reservation)
  })
}

function appOf(id: string): AppId | undefined {
  try {
    return appIdOfTask(parseTaskId(id))
  } catch {
    return undefined // ERR_MODEL_ID: a label that we did not write
  }
}

function endOf(reservation: Reservation): readonly OfferOperation[] {
  const { volumes } = reservation
  const bare = { ...reservation, volumes: [] }
  const destroy: readonly OfferOperation[] =
    volumes.length === 0 ? [] : [{ kind: 'destroy', reservation: bare, volumes }]
  return [...destroy, { kind: 'unreserve', reservations: [bare] }]
}
