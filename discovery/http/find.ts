import { type Ip } from '../../core/base/ip.ts'
import { dnsClass } from '../dns/constants.ts'
import { type Name, parseName } from '../dns/name.ts'
import { type Rdata, type RdataOf, typeCode } from '../dns/rdata.ts'
import { lookup } from '../server/lookup.ts'
import { type ZoneReader } from '../server/zone-store.ts'

/** A record as both APIs tell it: SRV as `target:port`. */
export interface FlatRecord {
  readonly name: string
  readonly host: string
  readonly rtype: 'A' | 'AAAA' | 'SRV'
}

/** `undefined` for types that the APIs know nothing of. */
export function flatRecord(name: string, data: Rdata): FlatRecord | undefined {
  if (data.type === 'A' || data.type === 'AAAA') return { name, host: data.address, rtype: data.type }
  if (data.type === 'SRV') return { name, host: `${data.target}:${data.port}`, rtype: 'SRV' }
  return undefined
}

/** Addresses of a name, IPv4 first, as the server would answer. @throws ERR_DNS_NAME */
export function findAddresses(zones: ZoneReader, text: string): readonly Ip[] {
  const name = parseName(text)
  return [...addressesOf(zones, name, 'A'), ...addressesOf(zones, name, 'AAAA')]
}

function addressesOf(zones: ZoneReader, name: Name, type: 'A' | 'AAAA'): readonly Ip[] {
  return find(zones, name, typeCode(type)).flatMap((data) => (data.type === type ? [data.address] : []))
}

/** A service's records. @throws ERR_DNS_NAME */
export function findServices(zones: ZoneReader, text: string): readonly RdataOf<'SRV'>[] {
  return find(zones, parseName(text), typeCode('SRV')).filter((data) => data.type === 'SRV')
}

function find(zones: ZoneReader, name: Name, type: number): readonly Rdata[] {
  const found = lookup(zones, { name, type, class: dnsClass.IN }, 0)
  return found?.answers.map(({ data }) => data) ?? []
}
