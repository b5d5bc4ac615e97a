import { type Ip, type IpFamily, ipFamily, parseIp } from '../../core/base/ip.ts'
import { type LeasePortMapping } from '../ipam/lease.ts'

/** A host port of one IP version that leads to a container. */
export interface PortMapping {
  readonly family: IpFamily
  readonly protocol: LeasePortMapping['protocol']
  readonly hostPort: number
  /** Absent: every address of the node, but VIPs. */
  readonly hostIp?: Ip
  readonly address: Ip
  readonly containerPort: number
}

/** Host addresses that stand for all addresses of a version. */
const everyAddress: ReadonlySet<Ip> = new Set([parseIp('0.0.0.0'), parseIp('::')])

/**
 * Each mapping for each of the container's addresses that it fits: those of the host address's version, or all. The
 * container port 0 means the host port. `0.0.0.0` and `::` mean every address of that version.
 */
export function portMappingsOf(addresses: readonly Ip[], asked: readonly LeasePortMapping[]): readonly PortMapping[] {
  return asked.flatMap(({ protocol, hostPort, hostIp, containerPort }) => {
    const fitting = addresses.filter((address) => hostIp === undefined || ipFamily(address) === ipFamily(hostIp))
    return fitting.map((address) => ({
      family: ipFamily(address),
      protocol,
      hostPort,
      ...(hostIp === undefined || everyAddress.has(hostIp) ? {} : { hostIp }),
      address,
      containerPort: containerPort === 0 ? hostPort : containerPort,
    }))
  })
}

/** A host port as people write it: `tcp 192.0.2.1:8080`, `udp *:53`. */
export function formatHostPort({ protocol, hostIp, hostPort }: Omit<PortMapping, 'address' | 'containerPort'>): string {
  const host = hostIp === undefined ? '*' : hostIp.includes(':') ? `[${hostIp}]` : hostIp
  return `${protocol} ${host}:${hostPort}`
}

/** True when one packet could be meant for both. */
export function clashes(a: PortMapping, b: PortMapping): boolean {
  if (a.family !== b.family || a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false
  return a.hostIp === undefined || b.hostIp === undefined || a.hostIp === b.hostIp
}
