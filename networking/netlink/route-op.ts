import { unreachable } from '../../core/base/errors.ts'
import { addressDelRequest, addressReplaceRequest } from './address.ts'
import { isErrno } from './errors.ts'
import { linkAddRequest, linkDelRequest, linkSetRequest } from './link.ts'
import { type NetlinkRequest } from './message.ts'
import { fdbDelRequest, fdbReplaceRequest, neighbourDelRequest, neighbourReplaceRequest } from './neighbour.ts'
import { nexthopDelRequest, nexthopReplaceRequest } from './nexthop.ts'
import { type RouteOp } from './ops.ts'
import { routeDelRequest, routeReplaceRequest } from './route.ts'

/** The request of an op. `index` finds a device's number and throws ERR_NETLINK_ENODEV when there is none. */
export function routeOpRequest(op: RouteOp, index: (device: string) => number): NetlinkRequest {
  switch (op.kind) {
    case 'link.add':
      return linkAddRequest(op.link, op.link.type === 'vxlan' ? optional(op.link.device, index) : undefined)
    case 'link.set':
      return linkSetRequest(op.name, op.change.name === undefined ? 0 : index(op.name), op.change)
    case 'link.del':
      return linkDelRequest(op.name)
    case 'address.replace':
      return addressReplaceRequest(op.address, index(op.address.device))
    case 'address.del':
      return addressDelRequest(op.address, index(op.address.device))
    case 'neighbour.replace':
      return neighbourReplaceRequest(op.neighbour, index(op.neighbour.device))
    case 'neighbour.del':
      return neighbourDelRequest(op.neighbour, index(op.neighbour.device))
    case 'fdb.replace':
      return fdbReplaceRequest(op.fdb, index(op.fdb.device))
    case 'fdb.del':
      return fdbDelRequest(op.fdb, index(op.fdb.device))
    case 'nexthop.replace':
      return nexthopReplaceRequest(op.nexthop, index(op.nexthop.device))
    case 'nexthop.del':
      return nexthopDelRequest(op.id)
    case 'route.replace':
      return routeReplaceRequest(op.route, optional(op.route.device, index))
    case 'route.del':
      return routeDelRequest(op.route, optional(op.route.device, index))
    default:
      return unreachable(op)
  }
}

function optional(device: string | undefined, index: (device: string) => number): number | undefined {
  return device === undefined ? undefined : index(device)
}

/** True when names of devices may lead elsewhere after this op. */
export function changesNames(op: RouteOp): boolean {
  return op.kind === 'link.add' || op.kind === 'link.del' || (op.kind === 'link.set' && op.change.name !== undefined)
}

/** True when the error of a deletion only says that there was nothing to delete. */
export function isAlreadyGone(op: RouteOp, error: unknown): boolean {
  if (!op.kind.endsWith('.del')) return false
  // A nexthop object takes its routes along; a route over one that is gone is refused with EINVAL.
  if (op.kind === 'route.del' && op.route.nexthopId !== undefined && isErrno(error, 'EINVAL')) return true
  return isErrno(error, 'ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL')
}
