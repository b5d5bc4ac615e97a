import { cidrOf } from '../core/base/cidr.ts'
import { familyBits, type Ip, ipFamily } from '../core/base/ip.ts'
import { type Node } from '../core/model/snapshot.ts'
import { type Route, type RouteOp, type RouteSpec } from '../networking/netlink/ops.ts'
import { routeProtocol } from '../networking/protocol.ts'

/** RT_TABLE_LOCAL, include/uapi/linux/rtnetlink.h */
const RT_TABLE_LOCAL = 255

/** How to find the routes that may be a VIP's: see {@link isVipRoute}. */
export const vipRouteFilter = { protocol: routeProtocol, table: RT_TABLE_LOCAL } as const

/**
 * The route that makes a VIP local on node `self`: packets of containers are then for this node, and a program of the node
 * itself has a source address to connect from: the VTEP's, because replies of containers on other nodes find the way back
 * to that one only. Without a VTEP address of the family the kernel chooses.
 */
export function vipRoute(address: Ip, self: Node | undefined): RouteSpec {
  const family = ipFamily(address)
  const source = self?.vtep.addresses.find((one) => ipFamily(one) === family)
  return {
    destination: cidrOf(address, familyBits(family)),
    type: 'local',
    protocol: routeProtocol,
    device: 'lo',
    table: RT_TABLE_LOCAL,
    ...(source === undefined ? {} : { preferredSource: source }),
  }
}

/** True for a route that {@link vipRoute} may have made, now or in an earlier process. */
export function isVipRoute({ type, protocol, table, device, destination }: Route): boolean {
  const isHost = destination.endsWith(destination.includes(':') ? '/128' : '/32')
  return type === 'local' && protocol === routeProtocol && table === RT_TABLE_LOCAL && device === 'lo' && isHost
}

/** What makes the VIP routes as wanted: additions, then removals. A route with another source is replaced. */
export function planVipRoutes(
  desired: readonly RouteSpec[],
  actual: readonly RouteSpec[],
): { readonly add: readonly RouteOp[]; readonly remove: readonly RouteOp[] } {
  const wanted = new Map(desired.map((route) => [route.destination, route]))
  const present = new Map(actual.map((route) => [route.destination, route]))
  return {
    add: desired
      .filter(({ destination, preferredSource }) => {
        const found = present.get(destination)
        return found === undefined || found.preferredSource !== preferredSource
      })
      .map((route): RouteOp => ({ kind: 'route.replace', route })),
    remove: actual
      .filter(({ destination }) => !wanted.has(destination))
      .map((route): RouteOp => ({ kind: 'route.del', route })),
  }
}
