import { parseCidr } from '../base/cidr.ts'
import { AppError, errorMessage, unreachable } from '../base/errors.ts'
import { type Cidr } from '../base/ip.ts'
import { type NetworkName, parseNetworkName } from './ids.ts'
import { type PortRange } from './resources.ts'

/**
 * Who a policy speaks of. `task`: the task of that id, or all of that name; a value that starts with "/" is an app's id. A
 * label or task stands for all container addresses of the tasks that match; a network for its prefixes.
 */
export type Selector =
  | { readonly kind: 'any' }
  | { readonly kind: 'network'; readonly network: NetworkName }
  | { readonly kind: 'label'; readonly key: string; readonly value: string }
  | { readonly kind: 'task'; readonly task: string }
  | { readonly kind: 'cidr'; readonly cidr: Cidr }

/** Protocols that a policy can name; `any`: these and all others. `icmp` is ICMP over IPv4, ICMPv6 over IPv6. */
export type PolicyProtocol = 'any' | 'tcp' | 'udp' | 'icmp'

/**
 * A rule about who may send to whom. Of the policies that match a packet the one with the lowest priority number decides; of
 * equal ones a deny before an allow, then the one whose name is first in the order of its characters' codes.
 */
export interface Policy {
  /** Unique; lower-case letters, digits and inner "-", at most 63: it is part of names in the kernel. */
  readonly name: string
  /** 0 to 65535, lower first. */
  readonly priority: number
  readonly action: 'allow' | 'deny'
  readonly from: Selector
  readonly to: Selector
  readonly protocol: PolicyProtocol
  /** Ports at the `to` side, only for TCP and UDP; none: all. */
  readonly ports: readonly PortRange[]
  /** `both`: also as if `from` and `to` were exchanged. Replies always pass, so most policies need only `forward`. */
  readonly direction: 'forward' | 'both'
}

/** Priority of a policy that says none. */
export const defaultPolicyPriority = 1000

/** The order in which policies are asked; the first that matches decides. */
export function comparePolicies(a: Policy, b: Policy): number {
  if (a.priority !== b.priority) return a.priority - b.priority
  if (a.action !== b.action) return a.action === 'deny' ? -1 : 1
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const taskPattern = /^\/?[A-Za-z0-9][\w./-]{0,254}$/
const labelPattern = /^[^=\p{Cc}]{1,255}$/u

/** @throws ERR_MODEL_POLICY */
export function parsePolicyName(text: string): string {
  if (namePattern.test(text)) return text
  throw invalid(`"${text}" is not a policy's name: lower-case letters, digits and inner "-", at most 63`)
}

/**
 * Parses `any`, `network:NAME`, `label:KEY=VALUE`, `task:NAME`, `task:/APP`, `cidr:PREFIX`.
 * @throws ERR_MODEL_POLICY saying what is wrong
 */
export function parseSelector(text: string): Selector {
  if (text === 'any') return { kind: 'any' }
  const [, kind = '', value = ''] = /^(\w+):(.*)$/s.exec(text) ?? []
  try {
    switch (kind) {
      case 'network':
        return { kind, network: parseNetworkName(value) }
      case 'cidr':
        return { kind, cidr: parseCidr(value) }
      case 'task':
        if (taskPattern.test(value)) return { kind, task: value }
        throw invalid(`"${value}" is neither a task's name or id nor an app's id`)
      case 'label':
        return parseLabel(value)
      default:
        throw invalid('write any, network:NAME, label:KEY=VALUE, task:NAME, task:/APP or cidr:PREFIX')
    }
  } catch (cause) {
    throw invalid(`selector "${text.slice(0, 300)}": ${errorMessage(cause)}`, cause)
  }
}

function parseLabel(text: string): Selector {
  const at = text.indexOf('=')
  const [key, value] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)]
  if (labelPattern.test(key) && value.length <= 4096) return { kind: 'label', key, value }
  throw invalid(`"${text}" is not KEY=VALUE, KEY of at most 255 characters`)
}

/** The inverse of {@link parseSelector}; two selectors are the same when their texts are. */
export function formatSelector(selector: Selector): string {
  switch (selector.kind) {
    case 'any':
      return 'any'
    case 'network':
      return `network:${selector.network}`
    case 'label':
      return `label:${selector.key}=${selector.value}`
    case 'task':
      return `task:${selector.task}`
    case 'cidr':
      return `cidr:${selector.cidr}`
    default:
      return unreachable(selector)
  }
}

/** Parses `80` or `8000-8100`. @throws ERR_MODEL_POLICY */
export function parsePolicyPorts(text: string): PortRange {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const range = { begin: Number(first), end: Number(last) }
  if (range.begin >= 1 && range.begin <= range.end && range.end <= 65_535) return range
  throw invalid(`"${text}" is neither a port nor a range like 8000-8100 (1 to 65535)`)
}

/** The inverse of {@link parsePolicyPorts}. */
export function formatPolicyPorts({ begin, end }: PortRange): string {
  return begin === end ? String(begin) : `${begin}-${end}`
}

function invalid(message: string, cause?: unknown): AppError {
  return new AppError('ERR_MODEL_POLICY', message, cause === undefined ? {} : { cause })
}
