/**
 * How everything that Weft makes in a kernel is told from what others made: design.md, "Own objects only". Nothing that
 * lacks these marks is ever changed or removed.
 */

/** `rtm_protocol` and `nh_protocol` of our routes and nexthops; 0x57 = "W". Unassigned in iproute2's rt_protos. */
export const routeProtocol = 87

/** Prefix of our link names. */
export const linkPrefix = 'wf'

/** Our only nftables table, of family inet. */
export const nftTable = 'weft'

/** UDP port of VXLAN. Source: dcos-net (reference/overlay.md). */
export const vxlanPort = 64000

/** Octets that VXLAN adds in front of a packet: outer IP, UDP, VXLAN and inner Ethernet headers. */
export const vxlanOverheadBytes = { 4: 50, 6: 70 } as const

/** Where containers send everything: a link-local gateway that answers nothing itself. */
export const containerGateway = { 4: '169.254.1.1', 6: 'fe80::1' } as const

/** Where each node answers DNS. Source: reference/dns-proxy.md. */
export const dnsAddress = '198.51.100.1'

/** The same over IPv6: what a container without IPv4 asks. */
export const dnsAddress6 = 'fd01:d::c633:6401'

/** All addresses on which each node answers DNS besides the containers' gateway. Source: reference/dns-proxy.md. */
export const dnsAddresses = [dnsAddress, '198.51.100.2', '198.51.100.3', dnsAddress6] as const

/** Port of 127.0.0.1 on which each node tells its names and VIPs by HTTP. Source: reference/dns-proxy.md. */
export const dcosNetHttpPort = 62080
