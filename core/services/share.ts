import { addReservations, type Reservation, type ResourceShare, volumesMb } from '../model/reservation.ts'
import { noResources, type PortRange, type Resources, subtractResources } from '../model/resources.ts'
import { type OfferPool } from '../scheduling/offers.ts'
import { type AppDefinition } from './app.ts'
import { isClaimed } from './claim.ts'
import { isResident } from './residency.ts'

/**
 * What of an agent's offers an app accepts: `*` stands for what is not reserved, a role for what is reserved for it. Source:
 * marathon, docs/networking, acceptedResourceRoles.
 */
export function acceptedShare(app: AppDefinition, pool: OfferPool): ResourceShare {
  const { acceptedResourceRoles: roles } = app
  return {
    unreserved: roles.includes('*') ? pool.resources : noResources,
    // What a claim is made of is not reserved yet.
    reserved: (isResident(app) ? [] : (pool.reserved ?? []))
      .filter((each) => roles.includes(each.role) && !isClaimed(each))
      .map(withoutVolumes),
  }
}

function withoutVolumes(reservation: Reservation): Reservation {
  if (reservation.volumes.length === 0) return reservation
  const { resources } = reservation
  return { ...reservation, resources: { ...resources, diskMb: resources.diskMb - volumesMb(reservation) }, volumes: [] }
}

/** The parts of `want` that come out of reservations, as much as there is: the rest is taken of what is not reserved. */
export function takeReserved({ reserved }: ResourceShare, want: Resources): readonly Reservation[] {
  let left = want
  let taken: readonly Reservation[] = []
  for (const each of reserved) {
    const part = inBoth(each.resources, left)
    left = subtractResources(left, part)
    const { cpuMillis, memMb, diskMb, ports } = part
    if (cpuMillis + memMb + diskMb + ports.length > 0) taken = addReservations(taken, [{ ...each, resources: part }])
  }
  return taken
}

function inBoth(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: Math.min(a.cpuMillis, b.cpuMillis),
    memMb: Math.min(a.memMb, b.memMb),
    diskMb: Math.min(a.diskMb, b.diskMb),
    ports: a.ports.flatMap((one) => b.ports.flatMap((other) => overlap(one, other))),
  }
}

function overlap(a: PortRange, b: PortRange): readonly PortRange[] {
  const begin = Math.max(a.begin, b.begin)
  const end = Math.min(a.end, b.end)
  return begin > end ? [] : [{ begin, end }]
}
