import { createHash } from 'node:crypto'
import { type Mac, parseMac } from '../../core/model/ids.ts'
import { linkPrefix } from '../protocol.ts'

/** RFC 4648 base32 alphabet in lower case. */
const base32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** Prefix of the host ends of containers' links; what follows is 12 characters of base32. */
const containerPrefix = `${linkPrefix}c`

const hostLinkPattern = new RegExp(`^${containerPrefix}[a-z2-7]{12}$`)

/** What names and addresses of one interface of one container are made from. */
export interface InterfaceIdentity {
  readonly containerId: string
  readonly ifname: string
}

/**
 * Name of the node's end of a container's veth: 60 bits of a hash, so that two containers of a node meet once in 10^12
 * pairs even at a million containers; making the link then fails, and nothing is taken over.
 */
export function hostLinkName(identity: InterfaceIdentity): string {
  const bytes = digest('link', identity)
  const letters = Array.from(bytes.subarray(0, 12), (byte) => base32[byte & 31])
  return `${containerPrefix}${letters.join('')}`
}

/** True for the names that {@link hostLinkName} gives. */
export function isHostLinkName(name: string): boolean {
  return hostLinkPattern.test(name)
}

/** Ethernet address of one end: the same for the same interface of the same container, also after a failed ADD. */
export function interfaceMac(end: 'host' | 'container', identity: InterfaceIdentity): Mac {
  const [first = 0, ...rest] = digest(end, identity).subarray(0, 6)
  // IEEE 802: locally administered, unicast.
  const octets = [(first & 0xfc) | 0x02, ...rest]
  return parseMac(octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':'))
}

function digest(purpose: string, { containerId, ifname }: InterfaceIdentity): Uint8Array {
  return createHash('sha256').update(`${purpose}\0${containerId}\0${ifname}`).digest()
}
