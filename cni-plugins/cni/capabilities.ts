import { cidrContains, cidrNth, cidrOf, cidrSize } from '../../core/base/cidr.ts'
import { AppError } from '../../core/base/errors.ts'
import { type Ip, ipFamily, ipToBigInt, parseIp } from '../../core/base/ip.ts'
import { integerField, isJsonObject, type JsonObject, listField, objectField, objectsField } from './json.ts'
import { stringField, stringsField } from './json.ts'
import { type CniDns } from './result.ts'
import { parseAddress } from './result-parse.ts'

/**
 * What a runtime says in `runtimeConfig` for the capabilities that a configuration declares. Source: CNI CONVENTIONS.md,
 * "Dynamic Plugin specific fields". A value that cannot be is refused with the key's name: ERR_CNI_FIELD (2).
 */

/** A host port that should lead to the container. */
export interface PortMappingWish {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol: 'tcp' | 'udp' | 'sctp'
  readonly hostIp?: Ip
}

/** Limits in bits per second, and bursts in bits. */
export interface BandwidthWish {
  readonly ingressBitsPerSecond?: number
  readonly ingressBurstBits?: number
  readonly egressBitsPerSecond?: number
  readonly egressBurstBits?: number
}

/** Addresses from `first` to `last`, both included, of one IP version. */
export interface IpRange {
  readonly first: Ip
  readonly last: Ip
}

/** @throws ERR_CNI_FIELD */
export function wrongField(key: string, value: unknown, rule: string): AppError {
  const shown = (JSON.stringify(value) ?? 'undefined').slice(0, 80)
  return new AppError('ERR_CNI_FIELD', `key "${key}": ${shown} ${rule}`)
}

/**
 * Capability `portMappings`. Entries without a host port only name a port of the container (VIPs use them): they are left
 * out. `names` are the keys of an entry: Mesos writes them otherwise.
 * @throws ERR_CNI_DECODE, ERR_CNI_FIELD also for a host port that is given twice
 */
export function parsePortMappings(
  entries: readonly JsonObject[],
  key: string,
  names = { hostPort: 'hostPort', containerPort: 'containerPort', hostIp: 'hostIP' },
): readonly PortMappingWish[] {
  const seen = new Set<string>()
  return entries.flatMap((entry) => {
    const hostPort = portOf(entry, names.hostPort, key)
    const containerPort = portOf(entry, names.containerPort, key)
    const protocol = parseProtocol(stringField(entry, 'protocol') || 'tcp', key)
    if (hostPort === 0) return []
    if (containerPort === 0) throw wrongField(key, entry, 'lacks the port of the container')
    const hostIp = optionalIp(entry, names.hostIp, key)
    const identity = `${protocol} ${hostIp ?? ''} ${hostPort}`
    if (seen.has(identity)) throw wrongField(key, entry, 'maps a host port a second time')
    seen.add(identity)
    return [{ hostPort, containerPort, protocol, ...(hostIp === undefined ? {} : { hostIp }) }]
  })
}

function portOf(entry: JsonObject, name: string, key: string): number {
  const port = integerField(entry, name) ?? 0
  if (port >= 0 && port <= 65535) return port
  throw wrongField(key, port, 'is no port')
}

function parseProtocol(text: string, key: string): PortMappingWish['protocol'] {
  const protocol = (['tcp', 'udp', 'sctp'] as const).find((known) => known === text.toLowerCase())
  if (protocol !== undefined) return protocol
  throw wrongField(key, text, 'is none of tcp, udp, sctp')
}

/** Unspecified addresses mean what an absent one does. */
function optionalIp(entry: JsonObject, name: string, key: string): Ip | undefined {
  const text = stringField(entry, name) ?? ''
  if (text === '' || text === '0.0.0.0' || text === '::') return undefined
  return fieldIp(text, key)
}

function fieldIp(text: string, key: string): Ip {
  try {
    return parseIp(text)
  } catch {
    throw wrongField(key, text, 'is not an IP address')
  }
}

/** Largest burst that the kernel's token bucket takes: 2^32 - 1 octets. Source: containernetworking/plugins, bandwidth. */
const maxBurstBits = 0xffffffff * 8

/**
 * Capability `bandwidth`: a rate and its burst come together; 0 means no limit.
 * @returns undefined when nothing is limited @throws ERR_CNI_DECODE, ERR_CNI_FIELD
 */
export function parseBandwidth(object: JsonObject | undefined): BandwidthWish | undefined {
  if (object === undefined) return undefined
  const ingress = limitOf(object, 'ingress')
  const egress = limitOf(object, 'egress')
  if (ingress === undefined && egress === undefined) return undefined
  return {
    ...(ingress === undefined ? {} : { ingressBitsPerSecond: ingress.rate, ingressBurstBits: ingress.burst }),
    ...(egress === undefined ? {} : { egressBitsPerSecond: egress.rate, egressBurstBits: egress.burst }),
  }
}

function limitOf(object: JsonObject, direction: 'ingress' | 'egress') {
  const [rateName, burstName] = [`${direction}Rate`, `${direction}Burst`]
  const [rate, burst] = [integerField(object, rateName) ?? 0, integerField(object, burstName) ?? 0]
  const key = `runtimeConfig.bandwidth.${rate < 0 ? rateName : burstName}`
  if (rate < 0 || burst < 0) throw wrongField(key, Math.min(rate, burst), 'is negative')
  if (burst > maxBurstBits) throw wrongField(key, burst, `is more than ${maxBurstBits} bits`)
  if (rate > 0 !== burst > 0) throw wrongField(key, burst, 'needs a rate and a burst, or neither')
  return rate === 0 ? undefined : { rate, burst }
}

/** What a name server list may hold without breaking the lines of a resolv.conf. */
const searchPattern = /^[A-Za-z0-9_]([\w.-]{0,252})$/
const optionPattern = /^[a-z0-9_-]+(:\d+)?$/i

/** Capability `dns`. @returns undefined when nothing is said @throws ERR_CNI_DECODE, ERR_CNI_FIELD */
export function parseDnsWish(object: JsonObject | undefined): CniDns | undefined {
  if (object === undefined) return undefined
  const [servers, searches] = [stringsField(object, 'servers'), stringsField(object, 'searches')]
  const options = stringsField(object, 'options')
  if (servers.length + searches.length + options.length === 0) return undefined
  for (const domain of searches) {
    if (!searchPattern.test(domain)) throw wrongField('runtimeConfig.dns.searches', domain, 'is not a domain')
  }
  for (const option of options) {
    if (!optionPattern.test(option)) throw wrongField('runtimeConfig.dns.options', option, 'is not an option')
  }
  const nameservers = servers.map((server) => fieldIp(server, 'runtimeConfig.dns.servers'))
  return { nameservers, search: searches, options }
}

/** RFC 1123 host names, and "_", which runtimes allow in names of containers. */
const aliasPattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/

/**
 * Capability `aliases`: a list, or, as podman sends it, lists by network name.
 * @throws ERR_CNI_DECODE, ERR_CNI_FIELD
 */
export function parseAliases(runtimeConfig: JsonObject, network: string): readonly string[] {
  const value = runtimeConfig['aliases']
  const aliases = isJsonObject(value) ? stringsField(value, network) : stringsField(runtimeConfig, 'aliases')
  for (const alias of aliases) {
    if (!aliasPattern.test(alias)) throw wrongField('runtimeConfig.aliases', alias, 'is not a host name')
  }
  return [...new Set(aliases)]
}

/** Capability `ipRanges`: sets of ranges, as host-local takes them. @throws ERR_CNI_DECODE, ERR_CNI_FIELD */
export function parseIpRanges(runtimeConfig: JsonObject): readonly IpRange[] {
  const key = 'runtimeConfig.ipRanges'
  return listField(runtimeConfig, 'ipRanges').flatMap((_, index, sets) =>
    objectsField({ [key]: sets[index] }, key).map((range) => parseRange(range, key)),
  )
}

function parseRange(range: JsonObject, key: string): IpRange {
  const text = stringField(range, 'subnet') ?? ''
  const { address, prefixLength } = rangeSubnet(text, key)
  const subnet = cidrOf(address, prefixLength)
  const first = optionalIp(range, 'rangeStart', key) ?? cidrNth(subnet, 0n)
  const last = optionalIp(range, 'rangeEnd', key) ?? cidrNth(subnet, cidrSize(subnet) - 1n)
  for (const end of [first, last]) {
    if (ipFamily(end) !== ipFamily(address) || !cidrContains(subnet, end)) {
      throw wrongField(key, end, `is not in ${subnet}`)
    }
  }
  if (ipToBigInt(first) > ipToBigInt(last)) throw wrongField(key, `${first}-${last}`, 'ends before it starts')
  return { first, last }
}

function rangeSubnet(text: string, key: string) {
  try {
    return parseAddress(text)
  } catch {
    throw wrongField(key, text, 'is not a subnet like 10.80.1.0/24')
  }
}

/** What Mesos says about the container's place on the network. */
export interface MesosWishes {
  readonly ips: readonly string[]
  readonly portMappings: readonly PortMappingWish[]
}

/** `args["org.apache.mesos"].network_info`. Source: mesos, isolators/network/cni/spec.proto and port-mapper. */
export function parseMesosArgs(raw: JsonObject): MesosWishes {
  const mesos = objectField(objectField(raw, 'args') ?? {}, 'org.apache.mesos') ?? {}
  const info = objectField(mesos, 'network_info') ?? {}
  const names = { hostPort: 'host_port', containerPort: 'container_port', hostIp: 'host_ip' }
  const key = 'args["org.apache.mesos"].network_info.port_mappings'
  return {
    ips: objectsField(info, 'ip_addresses').flatMap((entry) => {
      const address = stringField(entry, 'ip_address') ?? ''
      return address === '' ? [] : [address]
    }),
    portMappings: parsePortMappings(objectsField(info, 'port_mappings'), key, names),
  }
}
