/**
 * The IPVS table at a glance: the kernel's text has it all in one reading, where netlink asks for the real servers of one
 * service at a time, and the kernel tells of no change. Source: net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show.
 */
import { ipFamily, ipToBytes } from '../../core/base/ip.ts'
import { type IpvsDestination, type IpvsEntry, type IpvsServiceId } from './ops.ts'

/** A service's scheduler and its real servers, as the text says them. Flags are not looked at. */
interface Glimpse {
  readonly scheduler: string
  /** `0A50000B:1F90 1`: address and port in hexadecimal digits or brackets, weight. */
  readonly destinations: ReadonlySet<string>
}

/** Parses /proc/net/ip_vs. Keys: `TCP 64600001:0050`, `UDP [fd01:000c:…]:0050`. What has no such key is passed over. */
function parseGlance(text: string): ReadonlyMap<string, Glimpse> {
  const services = new Map<string, { readonly scheduler: string; readonly destinations: Set<string> }>()
  let current: Set<string> | undefined
  for (const line of text.split('\n')) {
    const [first = '', second = '', third = '', weight = ''] = line.trim().split(/\s+/)
    if (first === 'TCP' || first === 'UDP') {
      current = new Set()
      services.set(`${first} ${second}`, { scheduler: third, destinations: current })
    } else if (first === '->') {
      current?.add(`${second} ${third === 'Masq' ? weight : third}`)
    } else current = undefined
  }
  return services
}

/** The glimpse that an entry of ours gives. */
function glimpseOf({ service, destinations }: IpvsEntry): readonly [string, Glimpse] {
  const shown = new Set(destinations.map((one) => `${formatEnds(one)} ${one.weight}`))
  return [glimpseKey(service), { scheduler: service.scheduler, destinations: shown }]
}

/** `TCP 64600001:0050` */
function glimpseKey(service: IpvsServiceId): string {
  return `${service.protocol.toUpperCase()} ${formatEnds(service)}`
}

/** `%08X` or `[%pI6]`, then `%04X`. */
function formatEnds({ address, port }: Pick<IpvsDestination, 'address' | 'port'>): string {
  const digits = Buffer.from(ipToBytes(address)).toString('hex')
  const shown = ipFamily(address) === 6 ? `[${digits.match(/.{4}/g)?.join(':')}]` : digits.toUpperCase()
  return `${shown}:${port.toString(16).padStart(4, '0').toUpperCase()}`
}

/** True when `text` lacks something of `entries`, or says it otherwise. */
export function differsAtAGlance(text: string, entries: Iterable<IpvsEntry>): boolean {
  const found = parseGlance(text)
  for (const entry of entries) {
    const [key, wanted] = glimpseOf(entry)
    const seen = found.get(key)
    if (seen === undefined || seen.scheduler !== wanted.scheduler) return true
    if (seen.destinations.size !== wanted.destinations.size) return true
    for (const one of wanted.destinations) if (!seen.destinations.has(one)) return true
  }
  return false
}
