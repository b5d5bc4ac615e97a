import { AppError } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'

/** What a VIP label asks for: a named address that the master allocates, or a given one. */
export type VipSpec =
  | { readonly kind: 'named'; readonly name: string; readonly port: number }
  | { readonly kind: 'address'; readonly address: Ip; readonly port: number }

/** Keys of port labels that are VIPs. Source: dcos-net, dcos_l4lb_mesos_poller. */
export function isVipKey(key: string): boolean {
  return key.toUpperCase().startsWith('VIP')
}

/**
 * Parses `[/]name:port` or `address:port`; the last colon splits. Characters outside `[a-z0-9-]` are dropped from a name
 * after lower-casing (`/mygroup/myapp:80` → `mygroupmyapp`), as dcos-net does.
 * @throws ERR_VIP_LABEL for a missing or impossible port, an empty name, or one over 63 octets
 */
export function parseVipLabel(text: string): VipSpec {
  const colon = text.lastIndexOf(':')
  if (colon < 0) throw new AppError('ERR_VIP_LABEL', `VIP "${text}" has no port: write /name:port or address:port`)
  const port = parseVipPort(text, text.slice(colon + 1))
  const host = text.slice(0, colon)
  const address = parseVipAddress(host)
  if (address !== undefined) return { kind: 'address', address, port }
  if (/[^\w./-]/.test(host)) throw new AppError('ERR_VIP_LABEL', `VIP "${text}" has characters that no name can have`)
  const name = host.toLowerCase().replace(/[^a-z0-9-]/g, '')
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
    throw new AppError('ERR_VIP_LABEL', `VIP "${text}" has no usable name: 1 to 63 letters, digits and inner "-"`)
  }
  return { kind: 'named', name, port }
}

function parseVipPort(text: string, port: string): number {
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535) {
    throw new AppError('ERR_VIP_LABEL', `VIP "${text}" has port "${port}": 1 to 65535 are possible`)
  }
  return Number(port)
}

function parseVipAddress(host: string): Ip | undefined {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  try {
    return parseIp(bare)
  } catch {
    return undefined // ERR_IP_INVALID: it is a name
  }
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
