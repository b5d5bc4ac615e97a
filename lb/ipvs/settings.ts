import { type IpvsTimeouts } from './ops.ts'

/** A kernel setting: its path below /proc/sys. */
export interface IpvsSetting {
  readonly name: string
  readonly value: string
}

/** Reads and writes kernel settings of the node's network namespace. */
export interface IpvsSysctl {
  /** @returns undefined when the kernel has no such setting */
  read(name: string): string | undefined
  write(name: string, value: string): void
}

/**
 * What IPVS needs to be set to. Source: Documentation/networking/ipvs-sysctl.rst.
 * @param release of the kernel, as `uname -r` tells it
 */
export function desiredSettings(release: string): readonly IpvsSetting[] {
  const set = (name: string, value: string) => ({ name: `net/ipv4/vs/${name}`, value })
  return [
    // Balanced packets have conntrack entries: rules on connection state, and the source translation of hairpins, need them.
    set('conntrack', '1'),
    // A client's port used again goes through the scheduler, not to the backend that it had. Before 5.9 that cost such a
    // connection 1 s with conntrack (kubernetes#81775), so there it is off.
    set('conn_reuse_mode', isBefore(release, 5, 9) ? '0' : '1'),
    // A connection whose backend was taken out ends, instead of being swallowed for 15 minutes (kubernetes#71358).
    set('expire_nodest_conn', '1'),
    // The memory of where a client was sent to does not lead to a backend of weight 0.
    set('expire_quiescent_template', '1'),
    // Only a SYN opens a connection: a late packet of one that is gone is refused, not balanced to a backend that never
    // heard of it.
    set('sloppy_tcp', '0'),
    // A backend also answers connections that IPVS knows nothing of: to its own address, or led by nftables before this data
    // plane took over. With 1, such answers are dropped and refused.
    set('nat_icmp_send', '0'),
  ]
}

/**
 * Idle connections. TCP as long as conntrack keeps them (nf_conntrack_tcp_timeout_established): IPVS's own 15 minutes cut
 * database pools and such. The others are the kernel's defaults.
 */
export const desiredTimeouts: IpvsTimeouts = { tcpSeconds: 432_000, tcpFinSeconds: 120, udpSeconds: 300 }

function isBefore(release: string, major: number, minor: number): boolean {
  const [, a = '0', b = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? []
  return Number(a) < major || (Number(a) === major && Number(b) < minor)
}

/** What differs. A setting that the kernel does not have, or can't be read, is passed over. */
export function planSettings(sysctl: Pick<IpvsSysctl, 'read'>, release: string): readonly IpvsSetting[] {
  return desiredSettings(release).filter(({ name, value }) => {
    const found = sysctl.read(name)
    return found !== undefined && found !== value
  })
}
