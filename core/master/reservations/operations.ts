import {
  addReservations,
  addShares,
  containsReservations,
  containsShare,
  isSameReservation,
  noReservations,
  type PersistentVolume,
  type Reservation,
  reservedResources,
  type ResourceShare,
  subtractReservations,
  subtractShares,
  volumeProblem,
} from '../../model/reservation.ts'
import { noResources } from '../../model/resources.ts'
import { anyRole, isWithin } from '../../model/role.ts'
import { type OfferOperation } from '../../model/scheduler.ts'

/** An operation that changes what is reserved, not who runs what. */
export type ReservationOperation = Exclude<OfferOperation, { readonly kind: 'launch' | 'launch-group' }>

/** Who asks: a framework in the role of its offers, or an operator in any role. */
export interface Requester {
  readonly role: string | 'any'
  readonly principal: string
}

/** What an operation is checked against. */
export interface OperationContext extends Requester {
  /** What may be used for it: offered, or free. */
  readonly free: ResourceShare
  /** Ids of all volumes of the agent in that role: a new one must have another. */
  readonly hasVolume: (role: string, id: string) => boolean
}

/** The same resources after the operation, which must be possible: see {@link operationProblem}. */
export function applyOperation(share: ResourceShare, operation: ReservationOperation): ResourceShare {
  switch (operation.kind) {
    case 'reserve':
      return addShares(subtractShares(share, plain(operation.reservations)), reservedOnly(operation.reservations))
    case 'unreserve':
      return addShares(subtractShares(share, reservedOnly(operation.reservations)), plain(operation.reservations))
    case 'create': {
      const made = { ...operation.reservation, resources: noResources, volumes: operation.volumes }
      return { ...share, reserved: addReservations(share.reserved, [made]) }
    }
    case 'destroy': {
      const gone = { ...operation.reservation, resources: noResources, volumes: operation.volumes }
      return { ...share, reserved: subtractReservations(share.reserved, [gone]) }
    }
  }
}

/**
 * Why an operation can't be; undefined: it can. Source: reference/mesos-core.md, Offers; mesos, src/master/validation.cpp,
 * namespace operation.
 */
export function operationProblem(operation: ReservationOperation, context: OperationContext): string | undefined {
  switch (operation.kind) {
    case 'reserve':
      return reserveProblem(operation.reservations, context)
    case 'unreserve':
      return unreserveProblem(operation.reservations, context)
    case 'create':
      return createProblem(operation, context)
    case 'destroy':
      return destroyProblem(operation, context)
  }
}

function reserveProblem(reservations: readonly Reservation[], { free, role, principal }: OperationContext) {
  for (const each of reservations) {
    if (each.kind === 'static') return 'a static reservation is made by the flags of its agent only'
    if (each.role === anyRole) return `resources can't be reserved for the role "${anyRole}"`
    if (role !== 'any' && each.role !== role)
      return `the offer is for role "${role}", the reservation for "${each.role}"`
    if (each.volumes.length > 0) return 'a reservation is made without volumes: CREATE makes them'
    if (role !== 'any' && each.principal !== principal) {
      return `the reservation names principal "${each.principal}", the framework is "${principal}"`
    }
  }
  const wanted = plain(reservations)
  if (!hasAmounts(wanted)) return 'the operation names no resources'
  return containsShare(free, wanted) ? undefined : 'the resources to reserve are not free, or are reserved already'
}

function unreserveProblem(reservations: readonly Reservation[], { free, role, principal }: OperationContext) {
  const parts = addReservations(noReservations, reservations)
  for (const each of parts) {
    if (each.kind === 'static') return 'a static reservation ends by the flags of its agent only'
    if (each.volumes.length > 0) return 'a reservation with volumes can not be unreserved: DESTROY them first'
    if (role !== 'any' && each.principal !== '' && each.principal !== principal) {
      return `the reservation belongs to principal "${each.principal}"`
    }
  }
  if (!hasAmounts(plain(parts))) return 'the operation names no resources'
  const isThere = containsReservations(free.reserved, parts)
  return isThere ? undefined : 'the resources are not reserved like that, or are in use, or have volumes on them'
}

type VolumeOperation = Extract<ReservationOperation, { readonly kind: 'create' | 'destroy' }>

function createProblem({ reservation, volumes }: VolumeOperation, context: OperationContext): string | undefined {
  const { role, free, hasVolume } = context
  if (volumes.length === 0) return 'the operation names no volume'
  if (role !== 'any' && !isWithin(role, reservation.role)) return `the offer is for role "${role}"`
  const ids = new Set<string>()
  for (const volume of volumes) {
    const problem = volumeProblem(volume)
    if (problem !== undefined) return problem
    if (ids.has(volume.id) || hasVolume(reservation.role, volume.id)) return `there is a volume "${volume.id}" already`
    ids.add(volume.id)
  }
  const diskMb = volumes.reduce((sum, { sizeMb }) => sum + sizeMb, 0)
  const needed = { ...reservation, resources: { ...noResources, diskMb }, volumes: [] }
  const isThere = containsReservations(free.reserved, [needed])
  return isThere
    ? undefined
    : `a volume needs reserved disk: ${diskMb} MB of it are not free for role "${reservation.role}"`
}

function destroyProblem({ reservation, volumes }: VolumeOperation, { free }: OperationContext): string | undefined {
  if (volumes.length === 0) return 'the operation names no volume'
  const own = free.reserved.find((each) => isSameReservation(each, reservation))
  const has = ({ id }: PersistentVolume) => own?.volumes.some((volume) => volume.id === id)
  const missing = volumes.find((volume) => !has(volume))
  return missing && `volume "${missing.id}" is in use, or there is none`
}

/** What reservations are made of. */
function plain(reservations: readonly Reservation[]): ResourceShare {
  return { unreserved: reservedResources(reservations), reserved: noReservations }
}

function reservedOnly(reservations: readonly Reservation[]): ResourceShare {
  return { unreserved: noResources, reserved: addReservations(noReservations, reservations) }
}

function hasAmounts({ unreserved: { cpuMillis, memMb, diskMb, ports } }: ResourceShare): boolean {
  return cpuMillis > 0 || memMb > 0 || diskMb > 0 || ports.length > 0
}
