import { containsResources, portsToRanges, type Resources } from '../model/resources.ts'
import { type AppDefinition } from './app.ts'
import { fulfils, type Place } from '../scheduling/constraints.ts'
import { type OfferPool, type RejectReason } from '../scheduling/offers.ts'
import { appPorts, assignHostPorts } from './ports.ts'

/** What an instance of an app takes of an offer, or the first reason why the offer will not do. */
export type MatchResult =
  | {
      readonly kind: 'match'
      readonly resources: Resources
      /** One for each port of the app. */
      readonly hostPorts: readonly (number | undefined)[]
    }
  | { readonly kind: 'reject'; readonly reason: RejectReason }

/** Resources of one instance, but for ports. Fractions are rounded up to what the model counts in. */
export function scalarResources(app: AppDefinition): Resources {
  return { cpuMillis: Math.round(app.cpus * 1000), memMb: Math.ceil(app.mem), diskMb: Math.ceil(app.disk), ports: [] }
}

/** Can one more instance of the app, beside those at `running`, use the offers? `seed` chooses among free ports. */
export function matchOffer(
  app: AppDefinition,
  pool: OfferPool,
  { running, seed }: { readonly running: readonly Place[]; readonly seed: number },
): MatchResult {
  const want = scalarResources(app)
  const have = pool.resources
  if (!app.acceptedResourceRoles.includes(pool.role)) return reject('UnfulfilledRole')
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
  return containsResources(have, resources) ? { kind: 'match', resources, hostPorts } : reject('InsufficientPorts')
}

/** Names of the virtual networks that each instance of the app takes an address of. */
export function networksOf({ networks }: Pick<AppDefinition, 'networks'>): readonly string[] {
  return networks.flatMap(({ mode, name }) => (mode === 'container' && name !== undefined ? [name] : []))
}

function reject(reason: RejectReason): MatchResult {
  return { kind: 'reject', reason }
}
