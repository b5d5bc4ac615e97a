import { type PersistentVolume, type Reservation, volumeProblem } from '../model/reservation.ts'
import { parseRole } from '../model/role.ts'
import { type PersistentVolume as PersistentVolumeProto, type Reservation as ReservationProto } from './gen/cluster.ts'
import { decodeResources, encodeResources } from './convert-resources.ts'
import { invalid, parsed } from './parse.ts'

/** Reservations as they travel. */
export function encodeReservations(reservations: readonly Reservation[] = []): ReservationProto[] {
  return reservations.map(({ role, kind, principal, labels, resources, volumes }) => ({
    ...{ role, principal, labels: { ...labels } },
    dynamic: kind === 'dynamic',
    resources: encodeResources(resources),
    volumes: volumes.map(({ id, sizeMb, containerPath }) => ({ id, sizeMb, containerPath })),
  }))
}

/** @throws ERR_API_INVALID also for a role, a volume's id or a path that could lead elsewhere */
export function decodeReservations(protos: readonly ReservationProto[], field: string): readonly Reservation[] {
  return protos.map((proto) => ({
    role: parsed(proto.role, parseRole, `${field}.role`),
    kind: proto.dynamic ? 'dynamic' : 'static',
    principal: proto.principal,
    labels: proto.labels,
    resources: decodeResources(proto.resources, `${field}.resources`),
    volumes: proto.volumes.map((volume) => decodeVolume(volume, `${field}.volumes`)),
  }))
}

function decodeVolume({ id, sizeMb, containerPath }: PersistentVolumeProto, field: string): PersistentVolume {
  const volume = { id, sizeMb, containerPath }
  const problem = volumeProblem(volume)
  if (problem !== undefined) throw invalid(field, problem)
  return volume
}
