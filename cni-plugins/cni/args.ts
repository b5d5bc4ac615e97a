import { AppError } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import {
  type BandwidthWish,
  type IpRange,
  parseAliases,
  parseBandwidth,
  parseDnsWish,
  parseIpRanges,
  parseMesosArgs,
  parsePortMappings,
  type PortMappingWish,
} from './capabilities.ts'
import { type NetworkConfig } from './config.ts'
import { objectField, objectsField, stringField, stringsField } from './json.ts'
import { type CniDns } from './result.ts'

/** What the caller asks for beside a place on the network. */
export interface Wishes {
  /** Static addresses; a prefix length beside them is ignored, for containers are routed. */
  readonly ips: readonly Ip[]
  /** Lower case. */
  readonly mac?: string
  /** Where addresses must be from; empty: anywhere in the node's subnets. */
  readonly ranges: readonly IpRange[]
  readonly portMappings: readonly PortMappingWish[]
  readonly bandwidth?: BandwidthWish
  readonly aliases: readonly string[]
  /** Instead of the network's. */
  readonly dns?: CniDns
}

const knownArgs: ReadonlySet<string> = new Set(['IP', 'MAC', 'IGNOREUNKNOWN'])

/**
 * CNI_ARGS: `K=V;K=V`. Source: CNI conventions, "CNI_ARGS"; containernetworking/cni, pkg/types/args.go.
 * @throws ERR_CNI_ENVIRONMENT for a bad pair, or an unknown key without IgnoreUnknown=1 or true
 */
export function parseCniArgs(text: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>()
  for (const pair of text.split(';').filter((part) => part !== '')) {
    const equals = pair.indexOf('=')
    if (equals <= 0) {
      throw new AppError('ERR_CNI_ENVIRONMENT', `CNI_ARGS: "${pair.slice(0, 80)}" is not KEY=VALUE`)
    }
    args.set(pair.slice(0, equals), pair.slice(equals + 1))
  }
  const unknown = [...args.keys()].filter((key) => !knownArgs.has(key.toUpperCase()))
  const ignore = args.get('IgnoreUnknown')?.toLowerCase()
  if (unknown.length > 0 && ignore !== '1' && ignore !== 'true') {
    const names = unknown.join(', ').slice(0, 200)
    throw new AppError('ERR_CNI_ENVIRONMENT', `CNI_ARGS has unknown keys ${names}; IgnoreUnknown=1 lets them pass`)
  }
  return args
}

/**
 * Capabilities in `runtimeConfig`, else what `args.cni`, Mesos' arguments and CNI_ARGS say, in this order. Podman says the
 * same in the first and the last.
 * @throws ERR_CNI_ENVIRONMENT for values of CNI_ARGS, ERR_CNI_FIELD for those of the configuration, ERR_CNI_DECODE
 */
export function wishesOf(config: NetworkConfig, args: ReadonlyMap<string, string>): Wishes {
  const { runtimeConfig, raw, name } = config
  const mesos = parseMesosArgs(raw)
  const mapped = parsePortMappings(objectsField(runtimeConfig, 'portMappings'), 'runtimeConfig.portMappings')
  const [mac, bandwidth] = [macOf(config, args), parseBandwidth(objectField(runtimeConfig, 'bandwidth'))]
  const dns = parseDnsWish(objectField(runtimeConfig, 'dns'))
  return {
    ips: ipsOf(config, args, mesos.ips),
    ranges: parseIpRanges(runtimeConfig),
    portMappings: mapped.length > 0 ? mapped : mesos.portMappings,
    aliases: parseAliases(runtimeConfig, name),
    ...(mac === undefined ? {} : { mac }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(dns === undefined ? {} : { dns }),
  }
}

function ipsOf(
  { runtimeConfig, cniArgs }: NetworkConfig,
  args: ReadonlyMap<string, string>,
  mesos: readonly string[],
): readonly Ip[] {
  const mesosKey = 'args["org.apache.mesos"].network_info.ip_addresses'
  const ips = [
    stringsField(runtimeConfig, 'ips').map((text) => wishedIp(text, 'ERR_CNI_FIELD', 'runtimeConfig.ips')),
    stringsField(cniArgs, 'ips').map((text) => wishedIp(text, 'ERR_CNI_FIELD', 'args.cni.ips')),
    mesos.map((text) => wishedIp(text, 'ERR_CNI_FIELD', mesosKey)),
    splitList(args.get('IP')).map((text) => wishedIp(text, 'ERR_CNI_ENVIRONMENT', 'CNI_ARGS IP')),
  ].find((list) => list.length > 0)
  return [...new Set(ips)]
}

function macOf({ runtimeConfig, cniArgs }: NetworkConfig, args: ReadonlyMap<string, string>): string | undefined {
  return (
    wishedMac(stringField(runtimeConfig, 'mac'), 'ERR_CNI_FIELD', 'runtimeConfig.mac') ??
    wishedMac(stringField(cniArgs, 'mac'), 'ERR_CNI_FIELD', 'args.cni.mac') ??
    wishedMac(args.get('MAC'), 'ERR_CNI_ENVIRONMENT', 'CNI_ARGS MAC')
  )
}

function splitList(text: string | undefined): readonly string[] {
  return text === undefined || text === '' ? [] : text.split(',')
}

function wishedIp(text: string, code: string, where: string): Ip {
  const bare = /^([^/]*)(\/\d{1,3})?$/.exec(text)?.[1] ?? ''
  try {
    return parseIp(bare)
  } catch (cause) {
    throw new AppError(code, `${where}: "${text.slice(0, 80)}" is not an IP address`, { cause })
  }
}

/** A multicast or all-zero address cannot be an interface's. */
function wishedMac(text: string | undefined, code: string, where: string): string | undefined {
  if (text === undefined || text === '') return undefined
  const mac = text.toLowerCase()
  const unicast = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac)
  if (unicast && mac !== '00:00:00:00:00:00') return mac
  throw new AppError(code, `${where}: "${text.slice(0, 80)}" is not a unicast Ethernet address`)
}
