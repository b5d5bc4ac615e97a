import { AppError, hasCode } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type Protocol } from './task.ts'

/** What a VIP label asks for: a named address that the master allocates, or a given one. */
export type VipSpec =
  | { readonly kind: 'named'; readonly name: string; readonly port: number }
  | { readonly kind: 'address'; readonly address: Ip; readonly port: number }

/** Keys of port labels that are VIPs. Source: dcos-net, dcos_l4lb_mesos_poller. */
export function isVipKey(key: string): boolean {
  return key.toUpperCase().startsWith('VIP')
}

/**
 * Parses `[/]name:port`, `address:port` or `[address]:port`; the last colon splits. Characters outside `[a-z0-9-]` are
 * dropped from a name after lower-casing (`/mygroup/myapp:80` → `mygroupmyapp`), as dcos-net does. What looks like an
 * address but is none is refused, because as a name it would be something nobody meant.
 * @throws ERR_VIP_LABEL for a missing or impossible port, a malformed address, an empty name, or one over 63 octets
 */
export function parseVipLabel(text: string): VipSpec {
  const colon = text.lastIndexOf(':')
  if (colon < 0 || text.endsWith(']')) throw wrong(text, 'has no port: write /name:port or address:port')
  const port = parseVipPort(text, text.slice(colon + 1))
  const host = text.slice(0, colon)
  if (looksLikeAddress(host)) return { kind: 'address', address: parseVipAddress(text, host), port }
  const foreign = /[^\w./-]/u.exec(host)
  if (foreign !== null)
    throw wrong(text, `has "${foreign[0]}" in its name: letters, digits, "-", and / . _ are possible`)
  const name = host.toLowerCase().replace(/[^a-z0-9-]/g, '')
  if (name.length > 63) throw wrong(text, `has a name of ${name.length} characters: 63 are possible`)
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name)) {
    throw wrong(text, 'has no usable name: 1 to 63 letters, digits and inner "-"')
  }
  return { kind: 'named', name, port }
}

function wrong(text: string, what: string): AppError {
  return new AppError('ERR_VIP_LABEL', `VIP "${text.slice(0, 300)}" ${what}`)
}

function parseVipPort(text: string, port: string): number {
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535) {
    throw wrong(text, `has port "${port}": 1 to 65535 are possible, without leading zeros`)
  }
  return Number(port)
}

/** Brackets or a colon: IPv6. Only digits and dots: IPv4; a number without a dot is a name. */
function looksLikeAddress(host: string): boolean {
  return /[[\]:]/.test(host) || /^\/?\d[\d.]*\.[\d.]*$/.test(host)
}

function parseVipAddress(text: string, host: string): Ip {
  const bracketed = /^\[([^[\]]*)\]$/.exec(host)?.[1]
  const bare = bracketed ?? host
  if (bare.includes(':') === (bracketed !== undefined)) {
    try {
      return parseIp(bare)
    } catch (cause) {
      if (!hasCode(cause, 'ERR_IP_INVALID')) throw cause
    }
  }
  const advice = /[[\]:]/.test(host)
    ? 'write IPv6 as [fd00::1]:80'
    : 'write IPv4 as 192.0.2.1:80, without leading zeros'
  throw wrong(text, `has "${host}", which is no address: ${advice}`)
}

/** A task label that puts one of the task's ports behind a VIP: `VIP_PORT0`. */
const taskVipPattern = /^VIP_PORT(0|[1-9]\d{0,3})$/i

/** The number of the port, counted from 0, that a task label is about; undefined for any other label. */
export function taskVipIndex(key: string): number | undefined {
  const index = taskVipPattern.exec(key)?.[1]
  return index === undefined ? undefined : Number(index)
}

/** Parses the value of a task label `VIP_PORTn`: `tcp://name:port`, `udp://address:port`. @throws ERR_VIP_LABEL */
export function parseTaskVip(text: string): { readonly protocol: Protocol; readonly spec: VipSpec } {
  const [, protocol, rest = ''] = /^(tcp|udp):\/\/(.*)$/s.exec(text) ?? []
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw wrong(text, 'says no protocol: write tcp://name:port or udp://name:port')
  return { protocol, spec: parseVipLabel(rest) }
}

/** Identity of an allocated VIP address: `name.framework`. */
export function vipKey(name: string, framework: string): string {
  return `${name}.${framework}`
}

/** How a VIP chooses a backend, by the kernel's names: ipvsadm(8), `--scheduler`. */
export const vipSchedulers = ['wlc', 'rr', 'wrr', 'lc', 'sh', 'mh'] as const

/** One of {@link vipSchedulers}. */
export type VipScheduler = (typeof vipSchedulers)[number]

/** Without a label: the backend with the fewest connections for its weight. */
export const defaultVipScheduler: VipScheduler = 'wlc'

/** Port label: the scheduler of the port's VIPs. Its name does not begin with `VIP`, which would make it a VIP. */
export const schedulerLabel = 'lb-scheduler'

/** Port label: the task's weight behind the port's VIPs, 1 to 100. */
export const weightLabel = 'lb-weight'

/**
 * Port label: whole seconds, 0 to 3600, for which a task behind the port's VIPs is kept from being told to end once nothing
 * new is sent to it, so that established connections go on undisturbed.
 */
export const drainLabel = 'lb-drain-seconds'

/** The drain time that a port's labels ask for, in milliseconds; undefined when they say nothing. @throws ERR_VIP_DRAIN */
export function parseVipDrain(labels: Readonly<Record<string, string>>): number | undefined {
  const text = labels[drainLabel]
  if (text === undefined) return undefined
  if (/^(0|[1-9]\d{0,3})$/.test(text) && Number(text) <= 3600) return Number(text) * 1000
  throw new AppError('ERR_VIP_DRAIN', `${drainLabel} "${text}" is not a whole number of seconds from 0 to 3600`)
}

/** The scheduler that a port's labels ask for. @throws ERR_VIP_SCHEDULER */
export function parseVipScheduler(labels: Readonly<Record<string, string>>): VipScheduler {
  const text = labels[schedulerLabel]
  if (text === undefined) return defaultVipScheduler
  const scheduler = vipSchedulers.find((known) => known === text)
  if (scheduler !== undefined) return scheduler
  throw new AppError('ERR_VIP_SCHEDULER', `${schedulerLabel} "${text}" is none of ${vipSchedulers.join(', ')}`)
}

/** The weight that a port's labels ask for; 1 when they say nothing. @throws ERR_VIP_WEIGHT */
export function parseVipWeight(labels: Readonly<Record<string, string>>): number {
  const text = labels[weightLabel]
  if (text === undefined) return 1
  if (/^([1-9]\d?|100)$/.test(text)) return Number(text)
  throw new AppError('ERR_VIP_WEIGHT', `${weightLabel} "${text}" is not a whole number from 1 to 100`)
}
