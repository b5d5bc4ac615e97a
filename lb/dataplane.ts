import { type Ip } from '../core/base/ip.ts'
import { type Protocol } from '../core/model/task.ts'
import { type VipScheduler } from '../core/model/vip.ts'

/** Where a virtual server sends a connection. Weight 0: keeps what it has, gets nothing new. */
export interface RealServer {
  readonly address: Ip
  readonly port: number
  readonly weight: number
  /** In a container of this node: only such a backend can be chosen for a connection that it opened itself (hairpin). */
  readonly local?: true
}

/** A virtual address, port and protocol with its real servers. */
export interface VirtualServer {
  readonly address: Ip
  readonly port: number
  readonly protocol: Protocol
  /** Sorted by address, then port; no two the same. */
  readonly backends: readonly RealServer[]
  /** Absent: `wlc`, or the nearest that the data plane has. */
  readonly scheduler?: VipScheduler
}

/** Identity of a virtual server: `tcp 100.96.0.1:80`, `udp [fd00::1]:53`. */
export function formatVirtualServerKey({
  address,
  port,
  protocol,
}: Pick<VirtualServer, 'address' | 'port' | 'protocol'>): string {
  return `${protocol} ${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** The order of a server's backends: address as text, then port. */
export function compareBackends(a: RealServer, b: RealServer): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1
  return a.port - b.port
}

/** A step to what is wanted. */
export type LbOp =
  | { readonly kind: 'server.ensure'; readonly server: VirtualServer }
  | { readonly kind: 'server.remove'; readonly server: VirtualServer }

/** What programs virtual servers into a kernel: IPVS or nftables, and a fake for unit tests. */
export interface DataPlane {
  readonly name: 'ipvs' | 'nftables' | 'fake'
  /** What is in the kernel now, of ours. */
  read(options: { readonly signal: AbortSignal }): Promise<readonly VirtualServer[]>
  /** Performs all, atomically where the kernel can. @throws AggregateError of what failed */
  apply(ops: readonly LbOp[], options: { readonly signal: AbortSignal }): Promise<void>
  /**
   * Makes all that the data plane owns in the kernel be `servers` and nothing else, whatever it finds there: the audit.
   * @returns what it had to do, as the commands an operator would type; empty when nothing differed
   */
  repair(servers: readonly VirtualServer[], options: { readonly signal: AbortSignal }): Promise<readonly string[]>
  /** A quick look between audits, where there is one: does the kernel have what was programmed last? */
  differs?(options: { readonly signal: AbortSignal }): Promise<boolean>
  close(): void
}

/** A flow that conntrack may still lead to a backend that is gone. */
export interface BalancedFlow {
  readonly server: Pick<VirtualServer, 'address' | 'port' | 'protocol'>
  readonly backend: Omit<RealServer, 'weight' | 'local'>
}

/** Deletes conntrack entries, so that flows of a removed backend are steered anew (UDP), or end (TCP). */
export interface Conntrack {
  forget(flows: readonly BalancedFlow[], options: { readonly signal: AbortSignal }): Promise<void>
  /** Deletes those that have had no answer yet: what is sent again is balanced anew, what is established stays. */
  forgetUnanswered(flows: readonly BalancedFlow[], options: { readonly signal: AbortSignal }): Promise<void>
}
