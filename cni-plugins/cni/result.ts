import { type Cidr, type Ip } from '../../core/base/ip.ts'

/** A link that a plugin made or uses. */
export interface CniInterface {
  readonly name: string
  readonly mac?: string
  readonly mtuBytes?: number
  /** Path of the namespace it is in; absent: the host's. */
  readonly sandbox?: string
  readonly socketPath?: string
  readonly pciId?: string
}

/** An address that was given. */
export interface CniIp {
  readonly address: Ip
  readonly prefixLength: number
  readonly gateway?: Ip
  /** Index into the result's interfaces. */
  readonly interface?: number
}

/** A route inside the container. */
export interface CniRoute {
  readonly destination: Cidr
  readonly gateway?: Ip
  readonly mtuBytes?: number
  readonly advmssBytes?: number
  readonly priority?: number
  readonly table?: number
  readonly scope?: number
}

/** What a resolver in the container should use. */
export interface CniDns {
  readonly nameservers: readonly string[]
  readonly domain?: string
  readonly search: readonly string[]
  readonly options: readonly string[]
}

/** What ADD made, whatever version it is written in. Source: CNI SPEC.md 1.1.0, section "ADD Success". */
export interface CniResult {
  readonly interfaces: readonly CniInterface[]
  readonly ips: readonly CniIp[]
  readonly routes: readonly CniRoute[]
  readonly dns: CniDns
}

/** A result with nothing in it. */
export const emptyCniResult: CniResult = {
  interfaces: [],
  ips: [],
  routes: [],
  dns: { nameservers: [], search: [], options: [] },
}

/** `later` after `earlier`: what a chained plugin answers. Interface indexes of `later` move; its DNS wins when given. */
export function mergeCniResults(earlier: CniResult, later: CniResult): CniResult {
  const offset = earlier.interfaces.length
  const ips = later.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + offset }))
  return {
    interfaces: [...earlier.interfaces, ...later.interfaces],
    ips: [...earlier.ips, ...ips],
    routes: [...earlier.routes, ...later.routes],
    dns: later.dns.nameservers.length > 0 ? later.dns : earlier.dns,
  }
}
