import { parseCidr } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { type LabelRule } from '../dns/label.ts'
import { type Name, nameOfLabels, parseName } from '../dns/name.ts'

/** Where a task's address comes from; the first that has one wins. Source: reference/mesos-dns.md, IPSources. */
export type IpSource = 'host' | 'docker' | 'mesos' | 'netinfo'

/** All of them. */
export const ipSources: readonly IpSource[] = ['host', 'docker', 'mesos', 'netinfo']

/**
 * Who is answered. A task is served to those that its visibility admits: FRAMEWORK to the widest-meant audience
 * `framework` only, CLUSTER also to `cluster`, EXTERNAL to all; a task that says nothing counts as CLUSTER.
 * Source: mesos, mesos.proto, message DiscoveryInfo.
 */
export type Audience = 'framework' | 'cluster' | 'external'

/** A zone of fixed aliases: DC/OS's components. */
export interface AliasZone {
  readonly apex: Name
  readonly aliases: readonly { readonly owner: Name; readonly target: Name }[]
}

/** Fixed parts of the SOA record of the Mesos-DNS domain. RFC 1035 §3.3.13. */
export interface SoaConfig {
  readonly mname: Name
  readonly rname: Name
  readonly refreshSeconds: number
  readonly retrySeconds: number
  readonly expireSeconds: number
}

/** How often a prefix of clients is answered over UDP; what is absent: BIND's defaults. */
export interface RateLimitConfig {
  readonly responsesPerSecond: number
  readonly burst?: number
  readonly slip?: number
  readonly ipv4PrefixLength?: number
  readonly ipv6PrefixLength?: number
}

/** What may differ between clusters in the names that they serve, and in how they are served. */
export interface NamesConfig {
  /** Domain of the Mesos-DNS names. */
  readonly domain: Name
  readonly labels: LabelRule
  readonly ttlSeconds: number
  /** TTL of negative answers. RFC 2308 §5. */
  readonly negativeTtlSeconds: number
  /** Where the node's DNS server answers: `ns.spartan` and `ns1` of the domain. */
  readonly nameServers: readonly Ip[]
  /** Ports for the SRV records of masters, agents and the built-in framework, where theirs are not known. */
  readonly ports: { readonly master: number; readonly agent: number }
  /** Prefixes, besides the networks' own, whose reverse zones are ours: where VIPs come from. */
  readonly reversePrefixes: readonly Cidr[]
  /** Weight of SRV records. */
  readonly serviceWeight: number
  readonly ipSources: readonly IpSource[]
  readonly audience: Audience
  /** Whether tasks are served whose check fails, or has not passed yet. */
  readonly unhealthy: 'hidden' | 'served'
  /** `mesos-dns`: its records only; no directory, no VIPs, nothing back from an address. */
  readonly content: 'all' | 'mesos-dns'
  readonly aliasZones: readonly AliasZone[]
  /** zbase32 of the cluster's public key: `X.KEY.dcos.directory` means `X.thisdcos.directory`. */
  readonly clusterKey?: string
  /** Absent: `ns1` and `root.ns1` of the domain, and Mesos-DNS's times. */
  readonly soa?: SoaConfig
  /** Clients that may transfer zones. RFC 5936. */
  readonly transfersTo: readonly Cidr[]
  /** Answer to `version.bind TXT CH`; absent: refused. */
  readonly versionText?: string
  /** A log line for each query. Costs the fast path. */
  readonly queryLog: 'off' | 'on'
  /** TCP connections of each address; one more closes the one that was quiet longest. RFC 7766 §6.2.3. */
  readonly tcpConnections: number
  /** How long a connection may be without a whole query. */
  readonly tcpIdleSeconds: number
  /** Absent: clients are answered as often as they ask. Costs the fast path. */
  readonly rateLimit?: RateLimitConfig
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
    serviceWeight: 1,
    ipSources: ['netinfo', 'mesos', 'host'],
    audience: 'framework',
    unhealthy: 'hidden',
    content: 'all',
    aliasZones: [],
    transfersTo: [],
    queryLog: 'off',
    tcpConnections: 12_000,
    tcpIdleSeconds: 10,
    ...changes,
  }
}
