/** Routes: RTM_NEWROUTE and relatives. Sources: include/uapi/linux/rtnetlink.h; rtnetlink(7). */
import { cidrParts } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type AttrsOf, attrTable, nested } from './attr.ts'
import { octets, u32, u8 } from './codec.ts'
import { ip, via } from './codec-address.ts'
import { familyNumber, RT_SCOPE_NOWHERE, scopeName, scopeNumber } from './family.ts'
import { formatRouteOp } from './format.ts'
import { decodeBody, type Message, type NetlinkRequest, NLM_F_CREATE, NLM_F_REPLACE, writeBody } from './message.ts'
import { RTNH_F_ONLINK } from './nexthop.ts'
import { type Route, type RouteSpec } from './ops.ts'
import { struct } from './struct.ts'

/** Message types. */
export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26

/** RT_TABLE_*; a table over 255 stands in RTA_TABLE only. */
const RT_TABLE_MAIN = 254
const RT_TABLE_LOCAL = 255

/** RTN_* */
const typeNumber = { unicast: 1, local: 2, blackhole: 6, unreachable: 7 } as const

/** What the kernel gives an IPv6 route without a metric: IP6_RT_PRIO_USER, include/uapi/linux/ipv6_route.h. */
const defaultMetric6 = 1024

/** RTM_F_CLONED, the cached copy of a route. */
const RTM_F_CLONED = 0x200

/** RTAX_* */
const metricsAttrs = attrTable({ mtuBytes: [2, u32] })

/** RTA_* */
export const routeAttrs = attrTable({
  destination: [1, ip],
  deviceIndex: [4, u32],
  gateway: [5, ip],
  metric: [6, u32],
  preferredSource: [7, ip],
  metrics: [8, nested(metricsAttrs)],
  multipath: [9, octets],
  table: [15, u32],
  via: [18, via],
  nexthopId: [30, u32],
})

/** `struct rtmsg` */
const rtmsg = struct(12, {
  family: [0, u8],
  destinationLength: [1, u8],
  sourceLength: [2, u8],
  tos: [3, u8],
  table: [4, u8],
  protocol: [5, u8],
  scope: [6, u8],
  type: [7, u8],
  flags: [8, u32],
})

/** rtmsg with RTA_* */
export const routeShape = { header: rtmsg, attrs: routeAttrs }

/** Makes the route, or replaces the one with the same destination, table and metric. */
export function routeReplaceRequest(spec: RouteSpec, deviceIndex: number | undefined): NetlinkRequest {
  const body = routeBody(spec, deviceIndex, scopeNumber[spec.scope ?? defaultScope(spec)])
  return {
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    write: (writer) => writeBody(writer, routeShape, body),
    describe: () => formatRouteOp({ kind: 'route.replace', route: spec }),
  }
}

/** Takes the route away when everything that the spec names fits it. */
export function routeDelRequest(spec: RouteSpec, deviceIndex: number | undefined): NetlinkRequest {
  const scope = spec.scope === undefined ? RT_SCOPE_NOWHERE : scopeNumber[spec.scope]
  const body = routeBody(spec, deviceIndex, scope)
  return {
    type: RTM_DELROUTE,
    flags: 0,
    write: (writer) => writeBody(writer, routeShape, body),
    describe: () => formatRouteOp({ kind: 'route.del', route: spec }),
  }
}

function routeBody(spec: RouteSpec, deviceIndex: number | undefined, scope: number) {
  const { address, length, family } = cidrParts(spec.destination)
  const table = spec.table ?? defaultTable(spec.type)
  const header = {
    family: familyNumber[family],
    destinationLength: length,
    table: table > RT_TABLE_LOCAL ? 0 : table,
    protocol: spec.protocol,
    scope,
    type: typeNumber[spec.type],
    flags: spec.onlink === true ? RTNH_F_ONLINK : 0,
  }
  const attrs: AttrsOf<typeof routeAttrs> = {
    destination: address,
    nexthopId: spec.nexthopId,
    ...gatewayAttrs(spec, family),
    preferredSource: spec.preferredSource,
    table: table > RT_TABLE_LOCAL ? table : undefined,
    metric: spec.metric,
    deviceIndex,
    metrics: spec.mtuBytes === undefined ? undefined : { mtuBytes: spec.mtuBytes },
  }
  return { header, attrs }
}

function gatewayAttrs({ gateway }: RouteSpec, family: IpFamily): AttrsOf<typeof routeAttrs> {
  if (gateway === undefined) return {}
  return ipFamily(gateway) === family ? { gateway } : { via: gateway }
}

function defaultTable(type: RouteSpec['type']): number {
  return type === 'local' ? RT_TABLE_LOCAL : RT_TABLE_MAIN
}

/** As `ip route` chooses it; the kernel has no scopes for IPv6 and tells 0 for all. */
function defaultScope(
  route: Pick<RouteSpec, 'destination' | 'type' | 'gateway' | 'nexthopId'>,
): keyof typeof scopeNumber {
  if (ipFamily(route.destination) === 6) return 'global'
  if (route.type === 'local') return 'host'
  const direct = route.type === 'unicast' && route.gateway === undefined && route.nexthopId === undefined
  return direct ? 'link' : 'global'
}

/** Routes of one family that fit; the kernel filters. */
export function routeDumpRequest(
  family: IpFamily,
  filter: { readonly protocol?: number; readonly table?: number },
): NetlinkRequest {
  const { protocol = 0, table } = filter
  const header = { family: familyNumber[family], protocol }
  return {
    type: RTM_GETROUTE,
    flags: 0,
    write: (writer) => writeBody(writer, routeShape, { header, attrs: { table } }),
    describe: () => `ip -${family} route show table ${table ?? 'all'}${protocol === 0 ? '' : ` protocol ${protocol}`}`,
  }
}

/** A route with its device still as an index. */
export interface RawRoute extends Omit<Route, 'device'> {
  readonly deviceIndex?: number
}

/**
 * In the form in which it would be asked for: no scope, metric or device that the kernel adds by itself, no device and
 * gateway beside a nexthop object. Of several paths none is told. Other types (broadcast, …) are undefined.
 * @throws ERR_NETLINK_MALFORMED
 */
export function decodeRoute(message: Pick<Message, 'buffer' | 'start' | 'end'>): RawRoute | undefined {
  const { header, attrs } = decodeBody(routeShape, message)
  const type = typeName(header.type)
  if (type === undefined || (header.flags & RTM_F_CLONED) !== 0) return undefined
  const family: IpFamily = header.family === familyNumber[6] ? 6 : 4
  const path = decodePath(type, header.flags, attrs)
  const destination = `${attrs.destination ?? anyAddress[family]}/${header.destinationLength}` as Cidr // the kernel masks
  const scope = scopeName(header.scope)
  const { preferredSource, metric, metrics } = attrs
  const route = { destination, type, ...path }
  return {
    ...route,
    protocol: header.protocol,
    table: attrs.table ?? header.table,
    ...(scope === defaultScope(route) ? {} : { scope }),
    ...(preferredSource === undefined ? {} : { preferredSource }),
    ...(metric === undefined || (family === 6 && metric === defaultMetric6) ? {} : { metric }),
    ...(metrics?.mtuBytes === undefined ? {} : { mtuBytes: metrics.mtuBytes }),
  }
}

const anyAddress = { 4: '0.0.0.0', 6: '::' } as const

function typeName(type: number): RouteSpec['type'] | undefined {
  for (const name of ['unicast', 'local', 'unreachable', 'blackhole'] as const) {
    if (typeNumber[name] === type) return name
  }
  return undefined
}

interface Path {
  readonly nexthopId?: number
  readonly deviceIndex?: number
  readonly gateway?: Ip
  readonly onlink?: boolean
}

function decodePath(type: RouteSpec['type'], flags: number, attrs: AttrsOf<typeof routeAttrs>): Path {
  if (attrs.nexthopId !== undefined) return { nexthopId: attrs.nexthopId }
  // IPv6 hangs routes that lead nowhere on lo.
  if (type === 'unreachable' || type === 'blackhole') return {}
  const gateway = attrs.gateway ?? attrs.via
  return {
    ...(attrs.deviceIndex === undefined ? {} : { deviceIndex: attrs.deviceIndex }),
    ...(gateway === undefined ? {} : { gateway }),
    ...((flags & RTNH_F_ONLINK) === 0 ? {} : { onlink: true }),
  }
}
