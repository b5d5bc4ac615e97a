import { type Reservation, wholeOfShare } from '../model/reservation.ts'
import { containsResources, portsToRanges, type Resources } from '../model/resources.ts'
import { type AppDefinition } from './app.ts'
import { fulfils, type Place } from '../scheduling/constraints.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { appPorts, assignHostPorts } from './ports.ts'
import { persistentVolumes } from './residency.ts'
import { acceptedShare, takeReserved } from './share.ts'

/** What an instance of an app takes of an offer, or the first reason why the offer will not do. */
export type MatchResult =
  | {
      readonly kind: 'match'
      readonly resources: Resources
      /** How much of it is reserved. */
      readonly reserved: readonly Reservation[]
      /** One for each port of the app. */
      readonly hostPorts: readonly (number | undefined)[]
    }
  | { readonly kind: 'reject'; readonly reason: RejectReason }

/** Resources of one instance with its persistent volumes, but for ports. Fractions are rounded up to what the model counts in. */
export function scalarResources(app: AppDefinition): Resources {
  const volumesMb = persistentVolumes(app).reduce((sum, { sizeMb }) => sum + sizeMb, 0)
  const diskMb = Math.ceil(app.disk) + volumesMb
  return { cpuMillis: Math.round(app.cpus * 1000), memMb: Math.ceil(app.mem), diskMb, ports: [] }
}

/** Can one more instance of the app, beside those at `running`, use the offers? `seed` chooses among free ports. */
export function matchOffer(
  app: AppDefinition,
  pool: OfferPool,
  { running, seed }: { readonly running: readonly Place[]; readonly seed: number },
): MatchResult {
  const want = scalarResources(app)
  const share = acceptedShare(app, pool)
  const have = wholeOfShare(share)
  const isOthers = have.cpuMillis === 0 && have.memMb === 0 && wholeOfPool(pool).cpuMillis > 0
  if (isOthers) return reject('UnfulfilledRole')
  if (!app.constraints.every((constraint) => fulfils(constraint, pool.place, running))) {
    return reject('UnfulfilledConstraint')
  }
  if (want.cpuMillis > have.cpuMillis) return reject('InsufficientCpus')
  if (want.memMb > have.memMb) return reject('InsufficientMemory')
  if (want.diskMb > have.diskMb) return reject('InsufficientDisk')
  if (networksOf(app).some((name) => (pool.freeAddresses?.[name] ?? 1) < 1)) return reject('InsufficientAddresses')
  const hostPorts = assignHostPorts(appPorts(app), have.ports, seed)
  if (hostPorts === undefined) return reject('InsufficientPorts')
  const ports = portsToRanges([...new Set(hostPorts.filter((port) => port !== undefined))])
  const resources = { ...want, ports }
  if (!containsResources(have, resources)) return reject('InsufficientPorts')
  return { kind: 'match', resources, reserved: takeReserved(share, resources), hostPorts }
}

function wholeOfPool({ resources, reserved = [] }: OfferPool): Resources {
  return wholeOfShare({ unreserved: resources, reserved })
}

/** Names of the virtual networks that each instance of the app takes an address of. */
export function networksOf({ networks }: Pick<AppDefinition, 'networks'>): readonly string[] {
  return networks.flatMap(({ mode, name }) => (mode === 'container' && name !== undefined ? [name] : []))
}

function reject(reason: RejectReason): MatchResult {
  return { kind: 'reject', reason }
}
