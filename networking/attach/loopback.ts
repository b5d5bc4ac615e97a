import { type NetSetting } from './plan.ts'

/**
 * Lets packets with loopback addresses pass a container's link, so that the node's own programs reach a mapping at
 * 127.0.0.1 (IPv6 has no such setting). What this opens to the container is closed by the table's guard (networking/portmap/desired.ts).
 * Source: Documentation/networking/ip-sysctl.rst, route_localnet.
 */
export function loopbackSettings(hostLink: string | undefined): readonly NetSetting[] {
  if (hostLink === undefined) return []
  return [{ path: `ipv4/conf/${hostLink}/route_localnet`, value: '1', absent: 'failure' }]
}
