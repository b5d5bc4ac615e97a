import { ipFamily } from '../../core/base/ip.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type DirectWay } from './direct.ts'
import { vxlanDeviceName } from './objects.ts'

/** A kernel setting: its name is the path below /proc/sys (device names may have dots), its value without newline. */
export interface SysctlSetting {
  readonly name: string
  readonly value: string
  /** It is set only where it has this value; absent: wherever it has another than `value`. */
  readonly onlyFrom?: string
}

/**
 * What the overlay needs set. Replies may come in by another VXLAN device than the one that leads to their source (VTEP
 * addresses are routed through one network only), so reverse path filtering is loose on ours. The kernel takes the
 * larger of a device's value and `all` (Documentation/networking/ip-sysctl.rst, rp_filter), and loose is the largest:
 * `all`, and with it the machine's other devices, stay as they are.
 *
 * With direct routes the same holds for the underlay device: a node may answer through VXLAN what came to it directly (and
 * VTEP addresses always go through VXLAN). Strict filtering there is made loose; where there is none it stays so.
 */
export function desiredSysctls(snapshot: ClusterSnapshot, direct?: DirectWay): readonly SysctlSetting[] {
  const networks = [...snapshot.networks.values()]
  if (networks.length === 0) return []
  const loose = networks.map(({ vni }) => ({ name: `net/ipv4/conf/${vxlanDeviceName(vni)}/rp_filter`, value: '2' }))
  const ipv6 = networks.some(({ subnets }) => subnets.some((subnet) => ipFamily(subnet) === 6))
  const forward6 = ipv6 ? [{ name: ipv6Forwarding, value: '1' }] : []
  const possible = direct !== undefined && (direct.mode === 'always' || direct.onLink.length > 0)
  const underlay = possible ? [{ name: `net/ipv4/conf/${direct.device}/rp_filter`, value: '2', onlyFrom: '1' }] : []
  return [{ name: 'net/ipv4/ip_forward', value: '1' }, ...forward6, ...loose, ...underlay]
}

/** Routing of IPv6 between devices. Turning it on makes the kernel ignore router advertisements where accept_ra is 1. */
export const ipv6Forwarding = 'net/ipv6/conf/all/forwarding'
