import { parseCidr } from '../../base/cidr.ts'
import { type Cidr } from '../../base/ip.ts'

/** The address ranges of a cluster: design.md, "Profiles". One prefix for each IP version in every list. */
export interface Profile {
  readonly name: 'default' | 'dcos'
  /** Subnets of the first network, called `dcos`. */
  readonly first: readonly Cidr[]
  /** Where networks without subnets of their own get one of `networkBits`; undefined: they must bring their own. */
  readonly pool: { readonly range: Cidr; readonly networkBits: number } | undefined
  /** Length of a node's part of a network. Source of 24 and 80: reference/overlay.md. */
  readonly nodeBits: { readonly 4: number; readonly 6: number }
  readonly vips: readonly Cidr[]
  readonly vteps: readonly Cidr[]
}

/** Names of the profiles. */
export const profileNames = ['default', 'dcos'] as const

/** The ranges of a profile. */
export function profileOf(name: Profile['name']): Profile {
  const nodeBits = { 4: 24, 6: 80 } as const
  if (name === 'dcos') {
    return {
      name,
      first: [parseCidr('9.0.0.0/8')],
      pool: undefined,
      nodeBits,
      vips: [parseCidr('11.0.0.0/8')],
      vteps: [parseCidr('44.128.0.0/20')],
    }
  }
  return {
    name,
    first: [parseCidr('10.80.0.0/14')],
    pool: { range: parseCidr('10.80.0.0/12'), networkBits: 16 },
    nodeBits,
    vips: [parseCidr('100.96.0.0/16')],
    vteps: [parseCidr('100.97.0.0/20')],
  }
}
