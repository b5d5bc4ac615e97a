import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { vxlanOverheadBytes } from '../protocol.ts'
import { type Asker, leastOctets } from './asker.ts'

/** What may be asked of one node. */
export interface PathQuestion {
  readonly underlay: Ip
  /** Reached through VXLAN; absent: the cluster has no network of IPv4. */
  readonly vtep?: Ip
  /** MTU of this node's underlay device. */
  readonly underlayMtuBytes: number
}

/** What was found on the way to a node. */
export type PathFinding =
  /** The node's underlay address gives no answer at all: it is down, or runs no responder. Nothing follows. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'open' }
  /** Small packets pass, full ones don't; `mtuBytes` of the underlay do. */
  | { readonly kind: 'narrow'; readonly mtuBytes: number }
  /** Through VXLAN, packets without checksum pass, those with one don't. */
  | { readonly kind: 'checksum' }
  /** The underlay passes, VXLAN does not. */
  | { readonly kind: 'blocked' }

/** Two ways to ask. */
export interface Askers {
  readonly checksum: Asker
  readonly noChecksum: Asker
}

/** IPv4's least MTU (RFC 791) within VXLAN: no path is taken for narrower. */
const leastMtuBytes = 576 + vxlanOverheadBytes[4]

/** Asks a node in as few steps as there are answers: each step needs that the one before was answered. @throws AbortError */
export async function measurePath(
  { checksum, noChecksum }: Askers,
  { underlay, vtep, underlayMtuBytes }: PathQuestion,
  options: { readonly signal: AbortSignal },
): Promise<PathFinding> {
  const passes = async (address: Ip, octets: number) => (await checksum.ask(address, octets, options)) === 'answered'
  if (!(await passes(underlay, leastOctets))) return { kind: 'silent' }
  if (vtep !== undefined && !(await passes(vtep, leastOctets))) {
    const bare = await noChecksum.ask(vtep, leastOctets, options)
    return { kind: bare === 'answered' ? 'checksum' : 'blocked' }
  }
  const overhead = vxlanOverheadBytes[ipFamily(underlay)]
  const outer = await largest((octets) => passes(underlay, octets), underlayMtuBytes)
  const inside = vtep ?? underlay
  const inner =
    vtep === undefined ? outer : (await largest((octets) => passes(inside, octets), outer - overhead)) + overhead
  const mtuBytes = Math.min(outer, inner)
  return mtuBytes < underlayMtuBytes ? { kind: 'narrow', mtuBytes } : { kind: 'open' }
}

/** The largest size up to `most` that passes: `most` itself is tried first, because it is what usually does. */
async function largest(passes: (octets: number) => Promise<boolean>, most: number): Promise<number> {
  if (await passes(most)) return most
  let low = leastMtuBytes
  let high = most - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (await passes(middle)) low = middle
    else high = middle - 1
  }
  return low
}
