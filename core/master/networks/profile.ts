import { parseCidr } from '../../base/cidr.ts'
import { type Cidr, ipFamily } from '../../base/ip.ts'

/** Where networks that bring no subnet get one of `networkBits`. */
export interface NetworkPool {
  readonly range: Cidr
  readonly networkBits: number
}

/** The address ranges of a cluster: design.md, "Profiles". At most one prefix for each IP version in every list. */
export interface Profile {
  readonly name: 'default' | 'dcos'
  /** Subnets of the first network, called `dcos`. */
  readonly first: readonly Cidr[]
  /** Networks without subnets of their own get one of each; empty: they must bring their own. */
  readonly pools: readonly NetworkPool[]
  /** Length of a node's part of a network. Source of 24 and 80: reference/overlay.md. */
  readonly nodeBits: { readonly 4: number; readonly 6: number }
  readonly vips: readonly Cidr[]
  readonly vteps: readonly Cidr[]
}

/** Names of the profiles. */
export const profileNames = ['default', 'dcos'] as const

/** Which IP versions the ranges of a profile have: `4` where the machines have IPv6 turned off. */
export const ipVersionChoices = ['4', '4,6'] as const

const nodeBits = { 4: 24, 6: 80 } as const

/**
 * The ranges of a profile. IPv6 ones of `default` are unique local (RFC 4193), below fd57:4546:5400::/40 (0x57454654 is
 * "WEFT"): a /48 for each network, and two of the last for VIPs and VTEPs. Those of `dcos`: reference/overlay.md and
 * vip-load-balancer.md.
 */
export function profileOf(name: Profile['name'], ipVersions: (typeof ipVersionChoices)[number] = '4,6'): Profile {
  const profile = name === 'dcos' ? dcosProfile() : defaultProfile()
  if (ipVersions === '4,6') return profile
  const v4 = (ranges: readonly Cidr[]) => ranges.filter((range) => ipFamily(range) === 4)
  const pools = profile.pools.filter(({ range }) => ipFamily(range) === 4)
  return { ...profile, first: v4(profile.first), pools, vips: v4(profile.vips), vteps: v4(profile.vteps) }
}

function defaultProfile(): Profile {
  return {
    name: 'default',
    first: ['10.80.0.0/14', 'fd57:4546:5400::/48'].map(parseCidr),
    pools: [
      { range: parseCidr('10.80.0.0/12'), networkBits: 16 },
      { range: parseCidr('fd57:4546:5400::/40'), networkBits: 48 },
    ],
    nodeBits,
    vips: ['100.96.0.0/16', 'fd57:4546:54fe::/64'].map(parseCidr),
    vteps: ['100.97.0.0/20', 'fd57:4546:54ff::/64'].map(parseCidr),
  }
}

function dcosProfile(): Profile {
  return {
    name: 'dcos',
    first: ['9.0.0.0/8', 'fd01:b::/64'].map(parseCidr),
    pools: [],
    nodeBits,
    vips: ['11.0.0.0/8', 'fd01:c::/64'].map(parseCidr),
    vteps: ['44.128.0.0/20', 'fd01:a::/64'].map(parseCidr),
  }
}
