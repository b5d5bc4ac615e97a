import { ipFamily, ipv4ToNumber, parseIp } from '../../../base/ip.ts'

/** What frameworks are told of the master. */
export interface MasterFacts {
  readonly id: string
  readonly hostname: string
  readonly version: string
  /** `address:port`, with brackets around IPv6. */
  readonly advertised: string
}

/** Message MasterInfo. Source: mesos, mesos.proto; `ip` is an IPv4 address as the octets lie in memory. */
export function formatMasterInfo({ id, hostname, version, advertised }: MasterFacts): object {
  const [, host = '', portText = '0'] = /^\[?([^\]]*)\]?:(\d+)$/.exec(advertised) ?? []
  const port = Number(portText)
  return {
    id,
    ip: packIp(host),
    port,
    pid: `master@${advertised}`,
    hostname,
    version,
    address: { hostname, ip: host, port },
    capabilities: [],
  }
}

function packIp(host: string): number {
  const ip = parseIp(host)
  if (ipFamily(ip) === 6) return 0
  const n = ipv4ToNumber(ip)
  return ((n << 24) | ((n & 0xff00) << 8) | ((n >>> 8) & 0xff00) | (n >>> 24)) >>> 0
}
