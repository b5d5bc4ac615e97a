/** IPVS's own statistics. Source: include/uapi/linux/ip_vs.h; net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_stats64. */
import { type AttrsOf, attrTable, nested, nestedType } from '../../networking/netlink/attr.ts'
import { u64 } from '../../networking/netlink/codec.ts'
import { openGenericSocket } from '../../networking/netlink/genl.ts'
import { type NetnsTarget } from '../../networking/netlink/namespace.ts'
import { type BackendCounters, backendKey, type CounterReader } from '../counters.ts'
import {
  destinationAttrs,
  ipvsAttrs,
  ipvsCommand,
  ipvsFamilyName,
  serviceIdAttrs,
  toIpvsDestination,
  toIpvsService,
} from './messages.ts'

/** IPVS_STATS_ATTR_*, of 64 bits each in IPVS_DEST_ATTR_STATS64 */
const statsAttrs = attrTable({
  connections: [1, u64],
  packetsIn: [2, u64],
  packetsOut: [3, u64],
  bytesIn: [4, u64],
  bytesOut: [5, u64],
})

/** IPVS_DEST_ATTR_*, with IPVS_DEST_ATTR_STATS64 */
const countedAttrs = attrTable({ ...destinationAttrs.fields, stats: [nestedType(12), nested(statsAttrs)] })

/** IPVS_CMD_ATTR_*, whose destinations have counters */
export const countedIpvsAttrs = attrTable({ ...ipvsAttrs.fields, destination: [nestedType(2), nested(countedAttrs)] })

/** @throws ERR_NETLINK_FAMILY without IPVS; ERR_NETNS_NOT_FOUND, ERR_NATIVE_<ERRNO> */
export function openIpvsCounters({ netns }: { readonly netns?: NetnsTarget } = {}): CounterReader {
  const socket = openGenericSocket(netns === undefined ? {} : { netns })
  try {
    const family = socket.family(ipvsFamilyName)
    const request = { family, table: countedIpvsAttrs, describe: () => 'ipvsadm -Ln --stats' }
    const read = () => {
      const counters = new Map<string, BackendCounters>()
      for (const { service: attrs } of socket.dump({ ...request, command: ipvsCommand.getService, attrs: {} })) {
        const service = attrs === undefined ? undefined : toIpvsService(attrs)
        if (service === undefined) continue
        const of = { service: serviceIdAttrs(service) }
        for (const { destination } of socket.dump({ ...request, command: ipvsCommand.getDestination, attrs: of })) {
          if (destination === undefined) continue
          counters.set(backendKey(service, toIpvsDestination(destination)), toCounters(destination))
        }
      }
      return counters
    }
    return { counts: 'kernel', read: async () => read(), close: () => socket.close() }
  } catch (error) {
    socket.close()
    throw error
  }
}

/** The counters of a destination as the kernel tells it; without statistics (before Linux 4.1) nothing is known of ended ones. */
export function toCounters(destination: AttrsOf<typeof countedAttrs>): BackendCounters {
  const { activeConnections: active = 0, inactiveConnections: inactive = 0, stats } = destination
  if (stats === undefined) return { active, inactive, total: active + inactive }
  const { connections = 0n, packetsIn = 0n, packetsOut = 0n, bytesIn = 0n, bytesOut = 0n } = stats
  const total = Number(connections)
  return { active, inactive, total, packets: Number(packetsIn + packetsOut), bytes: Number(bytesIn + bytesOut) }
}
