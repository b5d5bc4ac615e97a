import { cidrOverlaps, cidrParts } from '../../core/base/cidr.ts'
import { AppError } from '../../core/base/errors.ts'
import { type Cidr } from '../../core/base/ip.ts'
import { type Route } from '../netlink/ops.ts'
import { linkPrefix, routeProtocol } from '../protocol.ts'

/** A range of the overlay and a route of the machine that have an address in common. */
export interface Clash {
  readonly range: Cidr
  readonly route: Route
}

/**
 * Routes that the ranges would take packets from, or lose packets to. Not counted: our own routes (by protocol number or
 * device), default routes, which everything is more specific than, and refusals (`unreachable`, `blackhole`): they lead
 * nowhere that could be lost.
 */
export function findClashes(ranges: readonly Cidr[], routes: readonly Route[]): readonly Clash[] {
  const foreign = routes.filter(isForeignPath)
  return ranges.flatMap((range) =>
    foreign.filter((route) => cidrOverlaps(range, route.destination)).map((route) => ({ range, route })),
  )
}

/** @throws ERR_OVERLAY_CLASH naming every range and the route that it overlaps */
export function refuseClashes(ranges: readonly Cidr[], routes: readonly Route[]): void {
  const clashes = findClashes(ranges, routes)
  if (clashes.length === 0) return
  const list = clashes.map(formatClash).join('; ')
  const advice = 'choose another range for the network, or remove the route'
  throw new AppError('ERR_OVERLAY_CLASH', `${list}: ${advice}`, { details: { clashes } })
}

/** `10.80.0.0/14 of the overlay overlaps the route 10.81.0.0/16 via 192.0.2.1 dev eth0 of this machine`. */
export function formatClash({ range, route }: Clash): string {
  const via = route.gateway === undefined ? '' : ` via ${route.gateway}`
  const device = route.device === undefined ? '' : ` dev ${route.device}`
  return `${range} of the overlay overlaps the route ${route.destination}${via}${device} of this machine`
}

function isForeignPath({ destination, type, protocol, device = '' }: Route): boolean {
  if (protocol === routeProtocol || device.startsWith(linkPrefix)) return false
  return (type === 'unicast' || type === 'local') && cidrParts(destination).length > 0
}
