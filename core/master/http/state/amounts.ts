import { type Reservation } from '../../../model/reservation.ts'
import { noResources, type PortRange, type Resources, subtractResources } from '../../../model/resources.ts'

/** Resources as the state endpoints have them. Ports always with ranges: Mesos-DNS refuses a single number. */
export function formatAmounts({ cpuMillis, memMb, diskMb, ports }: Resources) {
  return {
    cpus: cpuMillis / 1000,
    mem: memMb,
    disk: diskMb,
    gpus: 0,
    ...(ports.length === 0 ? {} : { ports: formatRanges(ports) }),
  }
}

/** `[31000-31001, 31005-31005]` */
export function formatRanges(ports: readonly PortRange[]): string {
  return `[${ports.map(({ begin, end }) => `${begin}-${end}`).join(', ')}]`
}

/** By role. */
export function formatReserved(reserved: readonly Reservation[]) {
  const byRole = new Map<string, Resources>()
  for (const { role, resources } of reserved) {
    const known = byRole.get(role) ?? noResources
    byRole.set(role, addLoosely(known, resources))
  }
  return Object.fromEntries([...byRole].map(([role, resources]) => [role, formatAmounts(resources)]))
}

/** What is left of `whole`; never below nothing. */
export function without(whole: Resources, part: Resources): Resources {
  const { cpuMillis, memMb, diskMb, ports } = subtractResources(whole, part)
  return { cpuMillis: Math.max(0, cpuMillis), memMb: Math.max(0, memMb), diskMb: Math.max(0, diskMb), ports }
}

/** The sum; ranges stay as they are, side by side. */
export function addLoosely(a: Resources, b: Resources): Resources {
  return {
    cpuMillis: a.cpuMillis + b.cpuMillis,
    memMb: a.memMb + b.memMb,
    diskMb: a.diskMb + b.diskMb,
    ports: b.ports.length === 0 ? a.ports : [...a.ports, ...b.ports],
  }
}
