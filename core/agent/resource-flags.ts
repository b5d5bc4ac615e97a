import { AppError } from '../base/errors.ts'
import { noReservations, type Reservation } from '../model/reservation.ts'
import { addResources, noResources, normalizePorts, type PortRange, type Resources } from '../model/resources.ts'
import { anyRole, parseRole } from '../model/role.ts'

/** What an agent has, and what of it is reserved for good. */
export interface OwnResources {
  /** All, reserved or not. */
  readonly resources: Resources
  /** Static reservations: one for each role. */
  readonly reserved: readonly Reservation[]
}

/**
 * `cpus:2;mem:1024;disk:4096;ports:[31000-31999,32000-32010]`; mem and disk in MB. `cpus(web):2` is reserved for role `web`;
 * what names no role is for `defaultRole`. Source: mesos, --resources and --default_role.
 * @throws ERR_AGENT_OPTION, ERR_MODEL_ROLE
 */
export function parseOwnResources(text: string, defaultRole: string = anyRole): OwnResources {
  const byRole = new Map<string, Map<string, string>>()
  for (const [key, value] of pairs(text)) {
    const [, name, role] = /^([^()]+?)(?:\((.*)\))?$/.exec(key) ?? []
    if (name === undefined || !['cpus', 'mem', 'disk', 'ports'].includes(name)) {
      throw new AppError('ERR_AGENT_OPTION', `no resource "${key}"`)
    }
    const owner = parseRole(role ?? defaultRole)
    byRole.set(owner, (byRole.get(owner) ?? new Map<string, string>()).set(name, value))
  }
  let resources = noResources
  let reserved = noReservations
  for (const [role, parts] of byRole) {
    const part = amounts(parts)
    resources = addResources(resources, part)
    if (role === anyRole) continue
    reserved = [...reserved, { role, kind: 'static', principal: '', labels: {}, resources: part, volumes: [] }]
  }
  return { resources, reserved }
}

/** Pairs of `key:value;key:value`. @throws ERR_AGENT_OPTION */
export function pairs(text: string): [string, string][] {
  return text.split(';').flatMap((pair) => {
    if (pair.trim() === '') return []
    const colon = pair.indexOf(':')
    if (colon < 1) throw new AppError('ERR_AGENT_OPTION', `"${pair}" is not key:value`)
    return [[pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()]]
  })
}

function amounts(parts: ReadonlyMap<string, string>): Resources {
  return {
    cpuMillis: Math.round(amount('cpus', parts.get('cpus')) * 1000),
    memMb: Math.floor(amount('mem', parts.get('mem'))),
    diskMb: Math.floor(amount('disk', parts.get('disk'))),
    ports: normalizePorts(parsePorts(parts.get('ports') ?? '[]')),
  }
}

function amount(name: string, text = '0'): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new AppError('ERR_AGENT_OPTION', `${name} "${text}" is not a number`)
}

function parsePorts(text: string): PortRange[] {
  const inner = /^\[(.*)\]$/.exec(text)?.[1]
  if (inner === undefined) throw new AppError('ERR_AGENT_OPTION', `ports "${text}" must be [begin-end,…]`)
  return inner.split(',').flatMap((range) => {
    if (range.trim() === '') return []
    const [, first, last] = /^\s*(\d{1,5})-(\d{1,5})\s*$/.exec(range) ?? []
    const [begin, end] = [Number(first), Number(last)]
    if (begin >= 1 && begin <= end && end <= 65535) return [{ begin, end }]
    throw new AppError('ERR_AGENT_OPTION', `port range "${range}" must be begin-end within 1 to 65535`)
  })
}
