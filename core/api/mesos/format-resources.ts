import { type PersistentVolume, type Reservation } from '../../model/reservation.ts'
import { type Resources } from '../../model/resources.ts'
import { formatLabels } from './parse-labels.ts'

/** What a list of resources is told with. */
export interface ResourcesFor {
  /** To whom they are offered. */
  readonly role: string
  /** Whether the framework knows `reservations` (capability RESERVATION_REFINEMENT), or `role` and `reservation`. */
  readonly style: 'reservations' | 'role'
}

/** Unreserved resources as Mesos's list. */
export function formatResources(resources: Resources, { role, style }: ResourcesFor): readonly object[] {
  const owner = { allocation_info: { role }, ...(style === 'role' ? { role: '*' } : {}) }
  return formatAmounts(resources, owner)
}

/** A reservation as Mesos's list: what is left beside its volumes, and each volume. */
export function formatReservation(reservation: Reservation, { role, style }: ResourcesFor): readonly object[] {
  const { resources, volumes } = reservation
  const owner = { allocation_info: { role }, ...formatOwner(reservation, style) }
  const inVolumes = volumes.reduce((sum, { sizeMb }) => sum + sizeMb, 0)
  const rest = { ...resources, diskMb: resources.diskMb - inVolumes }
  return [...formatAmounts(rest, owner), ...volumes.map((volume) => formatVolume(volume, reservation, owner))]
}

function formatOwner({ role, kind, principal, labels }: Reservation, style: ResourcesFor['style']): object {
  const pairs = formatLabels(labels)
  const facts = { ...(principal === '' ? {} : { principal }), ...(pairs && { labels: pairs }) }
  if (style === 'reservations')
    return { reservations: [{ type: kind === 'static' ? 'STATIC' : 'DYNAMIC', role, ...facts }] }
  return kind === 'static' ? { role } : { role, reservation: facts }
}

function formatAmounts({ cpuMillis, memMb, diskMb, ports }: Resources, owner: object): readonly object[] {
  const scalars = [
    ['cpus', cpuMillis / 1_000],
    ['mem', memMb],
    ['disk', diskMb],
  ] as const
  const list: object[] = scalars
    .filter(([, value]) => value > 0)
    .map(([name, value]) => ({ name, type: 'SCALAR', scalar: { value }, ...owner }))
  if (ports.length > 0) list.push({ name: 'ports', type: 'RANGES', ranges: { range: ports }, ...owner })
  return list
}

function formatVolume(
  { id, sizeMb, containerPath }: PersistentVolume,
  { principal }: Reservation,
  owner: object,
): object {
  const persistence = { id, ...(principal === '' ? {} : { principal }) }
  const disk = { persistence, volume: { container_path: containerPath, mode: 'RW' } }
  return { name: 'disk', type: 'SCALAR', scalar: { value: sizeMb }, ...owner, disk }
}
