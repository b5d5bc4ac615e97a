import { parseCidr } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { type LabelRule } from '../dns/label.ts'
import { type Name, nameOfLabels, parseName } from '../dns/name.ts'

/** What may differ between clusters in the names that they serve. */
export interface NamesConfig {
  /** Domain of the Mesos-DNS names. */
  readonly domain: Name
  readonly labels: LabelRule
  readonly ttlSeconds: number
  /** TTL of negative answers. RFC 2308 §5. */
  readonly negativeTtlSeconds: number
  /** Where the node's DNS server answers: `ns.spartan` and `ns1` of the domain. */
  readonly nameServers: readonly Ip[]
  /** Ports for the SRV records of masters, agents and the built-in framework. */
  readonly ports: { readonly master: number; readonly agent: number }
  /** Prefixes, besides the networks' own, whose reverse zones are ours: where VIPs come from. */
  readonly reversePrefixes: readonly Cidr[]
}

/** Domain of the names that DC/OS made for tasks, VIPs and nodes. */
export const directoryDomain: Name = nameOfLabels(['thisdcos', 'directory'])

/** Domain by which a node learns that its own DNS server answers. */
export const spartanDomain: Name = nameOfLabels(['spartan'])

/** Configuration with the defaults of design.md; VIP range 100.96.0.0/16. */
export function namesConfig(changes: Partial<NamesConfig> = {}): NamesConfig {
  return {
    domain: parseName('mesos'),
    labels: 'rfc1123',
    ttlSeconds: 5,
    negativeTtlSeconds: 1,
    nameServers: [parseIp('198.51.100.1')],
    ports: { master: 5050, agent: 5051 },
    reversePrefixes: [parseCidr('100.96.0.0/16')],
    ...changes,
  }
}
