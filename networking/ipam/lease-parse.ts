import { type Ip, parseIp } from '../../core/base/ip.ts'
import {
  type Bandwidth,
  type DelegatedCall,
  type Lease,
  type LeaseEntry,
  type LeaseKey,
  type LeasePortMapping,
} from './lease.ts'

type Json = Readonly<Record<string, unknown>>

/** @returns undefined for anything that is not a line of ours @throws ERR_IP_INVALID for an address that is none */
export function parseLeaseEntry(value: unknown): LeaseEntry | undefined {
  if (!isRecord(value)) return undefined
  switch (value['op']) {
    case 'lease': {
      const lease = parseLease(value['lease'])
      return lease === undefined ? undefined : { op: 'lease', lease }
    }
    case 'free': {
      const key = parseKey(value['key'])
      return key === undefined ? undefined : { op: 'free', key }
    }
    case 'rest': {
      const addresses = parseAddresses(value['addresses'])
      return addresses === undefined ? undefined : { op: 'rest', addresses }
    }
    default:
      return undefined
  }
}

function parseLease(value: unknown): Lease | undefined {
  const key = parseKey(value)
  if (key === undefined || !isRecord(value)) return undefined
  const { addresses: list, mac, hostLink, bootId } = value
  const addresses = parseAddresses(list)
  if (addresses === undefined) return undefined
  if (typeof mac !== 'string' || typeof hostLink !== 'string' || typeof bootId !== 'string') return undefined
  return { ...key, addresses, mac, hostLink, bootId, ...parseExtras(value) }
}

/** What is not as it should be is left out: the addresses count most. */
function parseExtras(value: Json): Partial<Lease> {
  const state = (['making', 'removing'] as const).find((known) => known === value['state'])
  const portMappings = objectsOf(value['portMappings']).flatMap(parseMapping)
  const bandwidth = parseBandwidth(value['bandwidth'])
  const aliases = textsOf(value['aliases'])
  const delegate = parseDelegate(value['delegate'])
  return {
    ...(state === undefined ? {} : { state }),
    ...(portMappings.length === 0 ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(delegate === undefined ? {} : { delegate }),
  }
}

function parseMapping({ hostPort, containerPort, protocol, hostIp }: Json): readonly LeasePortMapping[] {
  const known = (['tcp', 'udp', 'sctp'] as const).find((name) => name === protocol)
  if (typeof hostPort !== 'number' || typeof containerPort !== 'number' || known === undefined) return []
  const address = typeof hostIp === 'string' ? { hostIp: parseIp(hostIp) } : {}
  return [{ hostPort, containerPort, protocol: known, ...address }]
}

const limits = ['ingressBitsPerSecond', 'ingressBurstBits', 'egressBitsPerSecond', 'egressBurstBits'] as const

function parseBandwidth(value: unknown): Bandwidth | undefined {
  if (!isRecord(value)) return undefined
  const numbers: Record<string, number> = {}
  for (const limit of limits) {
    const number = value[limit]
    if (typeof number === 'number') numbers[limit] = number
  }
  return numbers
}

function parseDelegate(value: unknown): DelegatedCall | undefined {
  if (!isRecord(value) || !isRecord(value['env'])) return undefined
  const { type, stdin } = value
  if (typeof type !== 'string' || typeof stdin !== 'string') return undefined
  const env: Record<string, string> = {}
  for (const [name, text] of Object.entries(value['env'])) if (typeof text === 'string') env[name] = text
  return { type, stdin, env }
}

function parseKey(value: unknown): LeaseKey | undefined {
  if (!isRecord(value)) return undefined
  const { network, container, ifname } = value
  if (typeof network !== 'string' || typeof container !== 'string' || typeof ifname !== 'string') return undefined
  return { network, container, ifname }
}

function parseAddresses(value: unknown): readonly Ip[] | undefined {
  if (!Array.isArray(value)) return undefined
  const texts = value.filter((address) => typeof address === 'string')
  return texts.length === value.length ? texts.map(parseIp) : undefined
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : []
}

function objectsOf(value: unknown): readonly Json[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
