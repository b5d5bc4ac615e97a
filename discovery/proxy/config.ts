import { AppError } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type Name, nameKey, parseName } from '../dns/name.ts'

/** A resolver that is asked. */
export interface Upstream {
  readonly address: Ip
  readonly port: number
}

/** Names at and below `suffix` go to these upstreams instead of the others. */
export interface ForwardZone {
  readonly suffix: Name
  readonly upstreams: readonly Upstream[]
}

/** What the proxy does with names of no zone of ours. */
export interface ProxyConfig {
  readonly upstreams: readonly Upstream[]
  readonly forwardZones: readonly ForwardZone[]
  /** Search list of the machine: what it makes of our own names is denied here, not forwarded. */
  readonly search: readonly Name[]
  /** Our own suffixes. */
  readonly own: readonly Name[]
}

/**
 * `address`, `address#port` or `address:port` (IPv6 in brackets).
 * @throws ERR_IP_INVALID, also for a port outside of 1 to 65535
 */
export function parseUpstream(text: string): Upstream {
  const match =
    /^\[([^\]]+)\](?:[:#](\d{1,5}))?$/.exec(text) ??
    /^([^#]+)#(\d{1,5})$/.exec(text) ??
    /^([^:]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2] ?? 53)
  if (port < 1 || port > 65535) throw new AppError('ERR_IP_INVALID', `"${text}": ports are 1 to 65535`)
  return { address: parseIp(match?.[1] ?? text), port }
}

/**
 * `ZONE=ADDRESS[,ADDRESS…]`, addresses as {@link parseUpstream} takes them.
 * @throws ERR_DNS_FORWARD_ZONE, ERR_DNS_NAME, ERR_IP_INVALID
 */
export function parseForwardZone(text: string): ForwardZone {
  const [, zone, list] = /^([^=]+)=(.+)$/.exec(text) ?? []
  if (zone === undefined || list === undefined) {
    throw new AppError('ERR_DNS_FORWARD_ZONE', `"${text}": write ZONE=ADDRESS[,ADDRESS…]`)
  }
  return { suffix: parseName(zone), upstreams: list.split(',').map(parseUpstream) }
}

/** Name servers and search list of a resolv.conf, without servers that are ours; lines that make no sense are skipped. */
export function parseResolvConf(
  text: string,
  ownAddresses: ReadonlySet<string>,
): { readonly upstreams: readonly Upstream[]; readonly search: readonly Name[] } {
  const words = text.split('\n').map((line) =>
    line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/),
  )
  const servers = words.flatMap(([key, value]) => (key === 'nameserver' && value !== undefined ? [value] : []))
  const lists = words.filter(([key]) => key === 'search' || key === 'domain')
  return {
    upstreams: servers
      .flatMap((server) => attempt(() => [parseUpstream(server)]))
      .filter(({ address }) => !ownAddresses.has(address)),
    search: (lists.at(-1) ?? []).slice(1).flatMap((name) => attempt(() => [parseName(name)])),
  }
}

function attempt<T>(make: () => readonly T[]): readonly T[] {
  try {
    return make()
  } catch {
    return [] // ERR_IP_INVALID, ERR_DNS_NAME: a line that another resolver would skip too
  }
}

const invalidDomain: Name = parseName('invalid')

/** True when `key` is at or below `suffix`. */
export function isWithin(key: string, suffix: Name): boolean {
  const apex = nameKey(suffix)
  return apex === '.' || key === apex || key.endsWith(`.${apex}`)
}

/** The upstreams for a name: those of the longest matching zone. */
export function upstreamsFor(config: ProxyConfig, key: string): readonly Upstream[] {
  const zones = config.forwardZones.filter(({ suffix }) => isWithin(key, suffix))
  const [longest] = zones.toSorted((a, b) => b.suffix.length - a.suffix.length)
  return longest?.upstreams ?? config.upstreams
}

/**
 * True for what nobody outside can know: one of our names with a domain of the search list behind it
 * (`web.marathon.mesos.example.com`), as a stub resolver with `ndots` makes it; and `.invalid` (RFC 6761 §6.4).
 */
export function isHopeless(config: ProxyConfig, key: string): boolean {
  if (isWithin(key, invalidDomain)) return true
  return config.search.some((domain) => {
    const apex = nameKey(domain)
    if (apex === '.' || !key.endsWith(`.${apex}`)) return false
    const rest = key.slice(0, -apex.length)
    return config.own.some((own) => isWithin(rest, own))
  })
}
