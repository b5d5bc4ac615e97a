import { addResources, noResources, normalizePorts, type Resources, sumResources } from '../../../model/resources.ts'
import { type PersistentVolume, type Reservation, type ResourceShare } from '../../../model/reservation.ts'
import { anyRole } from '../../../model/role.ts'
import { parseLabels } from '../../../api/mesos/parse-labels.ts'
import { malformed, refuseFields, unsupported } from '../../../api/mesos/problem.ts'
import { type resourceWire, type Wire } from '../../../api/mesos/wire.ts'

type ResourceWire = Wire<typeof resourceWire>

const largest = 2 ** 32

/**
 * Mesos's list of resources as the model has it: what is not reserved, and each reservation with its volumes. CPUs are kept
 * to a thousandth, as Mesos does; a fraction of a MB counts as a whole one.
 * @throws ERR_SCHEDULER_UNSUPPORTED, ERR_SCHEDULER_MALFORMED with the path of the resource below `path`
 */
export function parseResources(list: readonly ResourceWire[], path: string): ResourceShare {
  const unreserved: Resources[] = []
  const reserved = new Map<string, Reservation>()
  list.forEach((resource, index) => {
    const at = `${path}[${index}]`
    const resources = parseAmount(resource, at)
    const owner = parseOwner(resource, at)
    const volumes = parseVolumes(resource, at)
    if (owner === undefined) {
      if (volumes.length > 0) throw malformed(`${at}.disk.persistence`, 'a volume needs reserved disk')
      unreserved.push(resources)
      return
    }
    const key = JSON.stringify([owner.role, owner.kind, owner.principal, Object.entries(owner.labels).toSorted()])
    const known = reserved.get(key) ?? { ...owner, resources: noResources, volumes: [] }
    const sum = addResources(known.resources, resources)
    reserved.set(key, { ...known, resources: sum, volumes: [...known.volumes, ...volumes] })
  })
  return { unreserved: sumResources(unreserved), reserved: [...reserved.values()] }
}

function parseAmount(resource: ResourceWire, path: string): Resources {
  refuseFields(resource, path, ['revocable', 'shared', 'provider_id'])
  const { name } = resource
  switch (name) {
    case 'cpus':
      return { ...noResources, cpuMillis: amountOf(resource, path, (value) => Math.round(value * 1_000)) }
    case 'mem':
      return { ...noResources, memMb: amountOf(resource, path, Math.ceil) }
    case 'disk':
      return { ...noResources, diskMb: amountOf(resource, path, Math.ceil) }
    case 'ports':
      return { ...noResources, ports: portsOf(resource, path) }
    default:
      // None of something is nothing.
      if (resource.scalar?.value === 0) return noResources
      throw unsupported(path, `no agent has the resource "${name}": there are cpus, mem, disk, ports`)
  }
}

function amountOf({ scalar }: ResourceWire, path: string, round: (value: number) => number): number {
  if (scalar === undefined) throw malformed(`${path}.scalar`, 'is missing')
  const amount = round(scalar.value)
  if (amount >= 0 && amount < largest) return amount
  throw malformed(`${path}.scalar.value`, 'is not an amount that an agent can have')
}

function portsOf({ ranges }: ResourceWire, path: string): Resources['ports'] {
  if (ranges === undefined) throw malformed(`${path}.ranges`, 'is missing')
  for (const [index, { begin, end }] of ranges.range.entries()) {
    const isPossible = begin >= 0 && begin <= end && end <= 65_535
    if (!isPossible) throw malformed(`${path}.ranges.range[${index}]`, 'is not a range of ports from 0 to 65535')
  }
  return normalizePorts(ranges.range.map(({ begin, end }) => ({ begin, end })))
}

type Owner = Pick<Reservation, 'role' | 'kind' | 'principal' | 'labels'>

/**
 * Both ways of saying a reservation: `reservations`, its last one counting (mesos 1.4 and later), or `role` with
 * `reservation` where it is dynamic.
 */
function parseOwner({ role, reservation, reservations }: ResourceWire, path: string): Owner | undefined {
  if (reservations.length > 1) {
    throw unsupported(`${path}.reservations`, 'a reservation within a reservation is not supported')
  }
  const [newer] = reservations
  const given = newer ?? reservation
  const owner = newer?.role ?? role ?? anyRole
  if (owner === anyRole) {
    if (given !== undefined) throw malformed(`${path}.role`, 'is missing: resources are reserved to a role')
    return undefined
  }
  const isStatic = newer === undefined ? reservation === undefined : newer.type === 'STATIC'
  return {
    role: owner,
    kind: isStatic ? 'static' : 'dynamic',
    principal: given?.principal ?? '',
    labels: parseLabels(given?.labels),
  }
}

function parseVolumes({ name, scalar, disk }: ResourceWire, path: string): readonly PersistentVolume[] {
  if (disk === undefined) return []
  refuseFields(disk, `${path}.disk`, ['source'])
  const { persistence, volume } = disk
  if (persistence === undefined) {
    if (volume !== undefined) throw unsupported(`${path}.disk.volume`, 'a volume without persistence is not supported')
    return []
  }
  if (name !== 'disk') throw malformed(`${path}.disk`, 'only disk holds a volume')
  if (volume === undefined) throw malformed(`${path}.disk.volume`, 'is missing')
  if (volume.mode === 'RO') throw unsupported(`${path}.disk.volume.mode`, 'a persistent volume is RW')
  const sizeMb = Math.ceil(scalar?.value ?? 0)
  return [{ id: persistence.id, sizeMb, containerPath: volume.container_path }]
}
