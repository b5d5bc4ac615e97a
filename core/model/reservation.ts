import { addResources, containsResources, noResources, type Resources, subtractResources } from './resources.ts'

/** A directory of an agent's disk that outlives tasks, agents' restarts and masters. Its space is part of its reservation. */
export interface PersistentVolume {
  /** Unique on its agent within its role. */
  readonly id: string
  readonly sizeMb: number
  /** Where tasks that take it see it: relative to the sandbox, or absolute. */
  readonly containerPath: string
}

/**
 * Resources of one agent that only one role is offered. Two reservations of an agent with the same role, principal and
 * labels are one. Source: mesos, mesos.proto, Resource.ReservationInfo (DYNAMIC, or STATIC by the agent's own flags).
 */
export interface Reservation {
  readonly role: string
  readonly kind: 'static' | 'dynamic'
  /** Who may unreserve it; empty: anybody. */
  readonly principal: string
  readonly labels: Readonly<Record<string, string>>
  /** `diskMb` includes the volumes. */
  readonly resources: Resources
  readonly volumes: readonly PersistentVolume[]
}

/** What a task or an operation takes: unreserved resources, and parts of reservations with their volumes. */
export interface ResourceShare {
  readonly unreserved: Resources
  readonly reserved: readonly Reservation[]
}

/** No reservations: one array, so that it can be told by identity. */
export const noReservations: readonly Reservation[] = []

/** True when the two are parts of one reservation. */
export function isSameReservation(a: Reservation, b: Reservation): boolean {
  return a.role === b.role && a.kind === b.kind && a.principal === b.principal && sameLabels(a.labels, b.labels)
}

function sameLabels(a: Reservation['labels'], b: Reservation['labels']): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key])
}

/** Space of its volumes, MB. */
export function volumesMb({ volumes }: Pick<Reservation, 'volumes'>): number {
  return volumes.reduce((sum, { sizeMb }) => sum + sizeMb, 0)
}

/** The resources of all of them. */
export function reservedResources(reservations: readonly Reservation[]): Resources {
  return reservations.reduce((sum, { resources }) => addResources(sum, resources), noResources)
}

/** Unreserved and reserved together. */
export function wholeOfShare({ unreserved, reserved }: ResourceShare): Resources {
  return reserved.length === 0 ? unreserved : addResources(unreserved, reservedResources(reserved))
}

/** Reservations of both, the parts of one joined; a volume of both is one. */
export function addReservations(a: readonly Reservation[], b: readonly Reservation[]): readonly Reservation[] {
  if (b.length === 0) return a
  const sum = [...a]
  for (const part of b) {
    const at = sum.findIndex((each) => isSameReservation(each, part))
    const known = sum[at]
    if (known === undefined) {
      sum.push(part)
      continue
    }
    const ids = new Set(known.volumes.map(({ id }) => id))
    const volumes = [...known.volumes, ...part.volumes.filter(({ id }) => !ids.has(id))]
    sum[at] = { ...known, resources: addResources(known.resources, part.resources), volumes }
  }
  return sum
}

/** `a` without `b`; a reservation of which nothing is left is left out. Amounts may go below 0 when `a` has less. */
export function subtractReservations(a: readonly Reservation[], b: readonly Reservation[]): readonly Reservation[] {
  if (b.length === 0) return a
  const rest = a.map((whole) => {
    const part = b.filter((each) => isSameReservation(whole, each))
    if (part.length === 0) return whole
    const gone = new Set(part.flatMap(({ volumes }) => volumes.map(({ id }) => id)))
    const resources = part.reduce((left, each) => subtractResources(left, each.resources), whole.resources)
    return { ...whole, resources, volumes: whole.volumes.filter(({ id }) => !gone.has(id)) }
  })
  return rest.filter((each) => !isNothing(each.resources) || each.volumes.length > 0)
}

/** True when each part is there, with its volumes, and disk beside the volumes that are left. */
export function containsReservations(whole: readonly Reservation[], parts: readonly Reservation[]): boolean {
  return parts.every((part) => {
    const found = whole.find((each) => isSameReservation(each, part))
    if (found === undefined || !containsResources(found.resources, part.resources)) return false
    const plainMb = part.resources.diskMb - volumesMb(part)
    if (plainMb < 0 || plainMb > found.resources.diskMb - volumesMb(found)) return false
    return part.volumes.every(({ id, sizeMb }) =>
      found.volumes.some((have) => have.id === id && have.sizeMb === sizeMb),
    )
  })
}

/** Both together. */
export function addShares(a: ResourceShare, b: ResourceShare): ResourceShare {
  return { unreserved: addResources(a.unreserved, b.unreserved), reserved: addReservations(a.reserved, b.reserved) }
}

/** `a` without `b`. */
export function subtractShares(a: ResourceShare, b: ResourceShare): ResourceShare {
  return {
    unreserved: subtractResources(a.unreserved, b.unreserved),
    reserved: subtractReservations(a.reserved, b.reserved),
  }
}

/** True when `whole` has at least `part`. */
export function containsShare(whole: ResourceShare, part: ResourceShare): boolean {
  return containsResources(whole.unreserved, part.unreserved) && containsReservations(whole.reserved, part.reserved)
}

/** What something takes that says all of it, and which of it is reserved: a task, an agent. */
export function shareOf(all: Resources, reserved: readonly Reservation[] = noReservations): ResourceShare {
  if (reserved.length === 0) return { unreserved: all, reserved: noReservations }
  return { unreserved: subtractResources(all, reservedResources(reserved)), reserved: addReservations([], reserved) }
}

function isNothing({ cpuMillis, memMb, diskMb, ports }: Resources): boolean {
  return cpuMillis === 0 && memMb === 0 && diskMb === 0 && ports.length === 0
}

const volumeId = /^[A-Za-z0-9_][\w.-]{0,199}$/

/** What is wrong with a volume's id or path: neither may lead out of where volumes and sandboxes are. Undefined: nothing. */
export function volumeProblem({ id, sizeMb, containerPath }: PersistentVolume): string | undefined {
  if (!volumeId.test(id))
    return `volume id "${id}" must be letters, digits, ".", "_" and "-", not beginning with "." or "-"`
  if (!Number.isInteger(sizeMb) || sizeMb < 1) return `volume "${id}" must have a size of whole MB, at least 1`
  const parts = containerPath.split('/')
  if (containerPath === '' || containerPath.includes('\0') || parts.some((part) => part === '..' || part === '.')) {
    return `volume "${id}": container path "${containerPath}" must not be empty and have no "." or ".."`
  }
  return undefined
}
