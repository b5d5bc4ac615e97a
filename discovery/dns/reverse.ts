import { type Cidr, type Ip, ipFamily, ipToBytes } from '../../core/base/ip.ts'
import { cidrParts, cidrSubnet } from '../../core/base/cidr.ts'
import { type Name, nameOfLabels } from './name.ts'

/** Owner of an address's PTR record: `4.3.2.1.in-addr.arpa.` (RFC 1035 §3.5), nibbles under `ip6.arpa.` (RFC 3596 §2.5). */
export function reverseName(address: Ip): Name {
  return nameOfLabels([...digitsOf(address).toReversed(), ...suffix[ipFamily(address)]])
}

/**
 * The reverse zones that together are the prefix: one where its length ends at a dot, else those of the next dot
 * (`10.80.0.0/14` → four of 16 bits).
 */
export function reverseZones(prefix: Cidr): readonly Name[] {
  const { length, family } = cidrParts(prefix)
  const stepBits = family === 4 ? 8 : 4
  const digits = Math.ceil(length / stepBits)
  const zones: Name[] = []
  for (let i = 0n; i < 1n << BigInt(digits * stepBits - length); i++) {
    const { address } = cidrParts(cidrSubnet(prefix, digits * stepBits, i))
    zones.push(nameOfLabels([...digitsOf(address).slice(0, digits).toReversed(), ...suffix[family]]))
  }
  return zones
}

const suffix = { 4: ['in-addr', 'arpa'], 6: ['ip6', 'arpa'] } as const

function digitsOf(address: Ip): readonly string[] {
  const bytes = [...ipToBytes(address)]
  if (ipFamily(address) === 4) return bytes.map(String)
  return bytes.flatMap((octet) => [(octet >> 4).toString(16), (octet & 15).toString(16)])
}
