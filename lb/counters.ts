import { type Ip } from '../core/base/ip.ts'
import { type BalancedFlow } from './dataplane.ts'

/**
 * What one node has led to a backend. `packets` and `bytes` are of both directions, of all connections in `total`; absent
 * where the kernel does not count them.
 */
export interface BackendCounters {
  /** Connections that are open now; over UDP, flows that were answered. */
  readonly active: number
  /** Connections that are being opened or have ended, and are remembered for a while. */
  readonly inactive: number
  /** Connections since the counting began: IPVS, since the backend came; nftables, those that any reading saw. */
  readonly total: number
  readonly packets?: number
  readonly bytes?: number
}

/** Counters by {@link backendKey}. A backend that is not in it has had nothing. */
export type VipCounters = ReadonlyMap<string, BackendCounters>

/** Reads a data plane's counters out of the kernel. */
export interface CounterReader {
  /** `total`: whether ended connections are in it (`kernel`), or only those that a reading saw (`readings`). */
  readonly counts: 'kernel' | 'readings'
  /** Walks the kernel's table on this thread: some 100 ms for 100,000 connections. @throws ERR_NETLINK_<ERRNO> */
  read(): Promise<VipCounters>
  close(): void
}

/** Identity of a backend behind one virtual server: what {@link VipCounters} is keyed by. */
export function backendKey({ protocol, address, port }: BalancedFlow['server'], backend: BalancedFlow['backend']) {
  return `${protocol} ${end(address, port)} ${end(backend.address, backend.port)}`
}

function end(address: Ip, port: number): string {
  return `${address} ${port}`
}
