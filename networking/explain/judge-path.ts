import { ipFamily } from '../../core/base/ip.ts'
import { formatRouteOp } from '../netlink/format.ts'
import { type RouteAnswer } from '../netlink/lookup.ts'
import { vxlanOverheadBytes } from '../protocol.ts'
import { type ExplainArea, type Finding } from './model.ts'
import { type LegObservation, type Step } from './observe.ts'
import { type SightedLink } from './reader.ts'

type Where = { readonly area: ExplainArea; readonly node: Finding['node'] }

/**
 * What is right and what is wrong on the way of one direction, in the order in which a packet meets it. What follows from
 * something that is missing is not looked at: the first wrong finding is the cause. Pure.
 */
export function judgeLeg(leg: LegObservation): readonly Finding[] {
  const sender = judgeSender(leg)
  if (sender.some(({ holds }) => !holds)) return sender
  const route = judgeRoute(leg)
  if (route.some(({ holds }) => !holds)) return [...sender, ...route]
  const between = leg.delivery === undefined ? [] : [...judgeOverlay(leg), ...judgeUnderlay(leg)]
  return [...sender, ...route, ...between, ...judgeDelivery(leg)]
}

/** The sender's interface: its node must know it, and both ends must be up. */
function judgeSender({ sender, source, from }: LegObservation): readonly Finding[] {
  if (sender === undefined) return []
  const where = { area: 'sender', node: from.name } as const
  return judgeContainerLink(where, sender, `${source.name} (${source.address})`)
}

function judgeContainerLink(where: Where, { way, link }: Step, whose: string): readonly Finding[] {
  if (way.kind === 'refused' || way.type !== 'unicast' || way.matched?.prefix.match(/\/(32|128)$/) === null) {
    const found = way.kind === 'refused' ? way.code : `the node sends it to ${formatWay(way)}`
    return [wrong(where, `the node has no route to the container of ${whose}: ${found}`)]
  }
  return judgeLink(where, link, `link ${way.device} of ${whose}`)
}

function judgeLink(where: Where, link: SightedLink | undefined, what: string): readonly Finding[] {
  if (link === undefined) return [wrong(where, `${what} is not there`)]
  const { name } = link
  if (!link.up) {
    return [wrong(where, `${what} is down`, formatRouteOp({ kind: 'link.set', name, change: { state: 'up' } }))]
  }
  if (!link.carrier) return [wrong(where, `${what} has no carrier: its other end is down or gone`)]
  return [right(where, `${what} is up, MTU ${link.mtuBytes}`)]
}

function judgeRoute({ step, destination, direction, from, to }: LegObservation): readonly Finding[] {
  const where = { area: 'route', node: from.name } as const
  const what = direction === 'there' ? `route to ${destination.address}` : `route back to ${destination.address}`
  const { way, link } = step
  if (way.kind === 'refused') return [wrong(where, `no ${what}: ${refusal(way)}`)]
  const text = `${what}: ${formatWay(way)}, MTU ${way.mtuBytes ?? link?.mtuBytes ?? 'unknown'}`
  if (to !== undefined && to.name !== from.name && way.type === 'local') {
    return [wrong(where, `${destination.address} is of node ${to.name}, but this node has it itself`)]
  }
  if (way.type === 'local') return [right(where, text)]
  return [right(where, text), ...judgeLink(where, link, `device ${way.device}`).filter(({ holds }) => !holds)]
}

/** Neighbour, FDB entry and both devices where the way leads through VXLAN; nothing where it goes over the segment. */
function judgeOverlay({ step, neighbour, fdb, arrival, from, to, network }: LegObservation): readonly Finding[] {
  const where = { area: 'overlay', node: from.name } as const
  const { way, link } = step
  if (to === undefined || way.kind === 'refused' || link === undefined) return []
  if (link.vxlan === undefined) return [right(where, `direct to node ${to.name}, no VXLAN`)]
  const device = link.name
  const { mac } = to.vtep
  const findings: Finding[] = []
  if (network !== undefined && link.vxlan.vni !== network.vni) {
    findings.push(wrong(where, `${device} has VNI ${link.vxlan.vni}, network ${network.name} has ${network.vni}`))
  }
  const { gateway } = way
  if (gateway !== undefined) {
    const fix = formatRouteOp({ kind: 'neighbour.replace', neighbour: { device, address: gateway, mac } })
    const has = neighbour?.mac === undefined ? 'is missing' : `leads to ${neighbour.mac}, not to ${mac}`
    if (neighbour?.mac === mac)
      findings.push(right(where, `neighbour ${gateway} on ${device}: VTEP ${mac} of ${to.name}`))
    else findings.push(wrong(where, `neighbour entry of VTEP ${gateway} on ${device} ${has}`, fix))
  }
  const fix = formatRouteOp({ kind: 'fdb.replace', fdb: { device, mac, destination: to.underlay } })
  const destinations = fdb.map(({ destination }) => destination)
  if (destinations.includes(to.underlay)) {
    findings.push(right(where, `FDB entry ${mac} on ${device}: to ${to.underlay}, port ${link.vxlan.udpPort}`))
  } else {
    const has = destinations.length === 0 ? 'is missing' : `leads to ${destinations.join(', ')}, not to ${to.underlay}`
    findings.push(wrong(where, `FDB entry of ${mac} on ${device} ${has}`, fix))
  }
  return [...findings, ...judgeArrival({ link, arrival, to })]
}

interface Arrival {
  readonly link: SightedLink
  readonly arrival: SightedLink | undefined
  readonly to: NonNullable<LegObservation['to']>
}

function judgeArrival({ link, arrival, to }: Arrival): readonly Finding[] {
  const where = { area: 'overlay', node: to.name } as const
  const { vni, udpPort } = link.vxlan ?? { vni: 0, udpPort: 0 }
  if (arrival === undefined) return [wrong(where, `no VXLAN device with VNI ${vni} receives there`)]
  const state = judgeLink(where, arrival, `VXLAN device ${arrival.name}`)
  if (state.some(({ holds }) => !holds)) return state
  if (arrival.mac !== to.vtep.mac) {
    const fix = formatRouteOp({ kind: 'link.set', name: arrival.name, change: { mac: to.vtep.mac } })
    return [
      wrong(where, `${arrival.name} has Ethernet address ${arrival.mac}, not ${to.vtep.mac}: it drops frames`, fix),
    ]
  }
  if (arrival.vxlan?.udpPort !== udpPort) {
    return [wrong(where, `${arrival.name} listens on port ${arrival.vxlan?.udpPort}, packets go to ${udpPort}`)]
  }
  return state
}

/** The way between the nodes themselves, and whether what VXLAN makes of a full packet fits through it. */
function judgeUnderlay({ step, underlay, from, to }: LegObservation): readonly Finding[] {
  const where = { area: 'overlay', node: from.name } as const
  if (underlay === undefined || to === undefined || step.way.kind === 'refused') return []
  const { way, link } = underlay
  const what = `underlay way to node ${to.name} (${to.underlay})`
  if (way.kind === 'refused') return [wrong(where, `no ${what}: ${refusal(way)}`)]
  const device = judgeLink(where, link, `underlay device ${way.device}`)
  if (link === undefined || device.some(({ holds }) => !holds)) return device
  const whole = way.mtuBytes ?? link.mtuBytes
  const overhead = step.link?.vxlan === undefined ? 0 : vxlanOverheadBytes[ipFamily(to.underlay)]
  const inner = step.way.mtuBytes ?? step.link?.mtuBytes ?? whole
  const text = `${what}: ${formatWay(way)}, MTU ${whole}`
  if (inner + overhead <= whole) return [right(where, text)]
  return [wrong(where, `MTU ${inner} and ${overhead} octets of VXLAN do not fit through the ${what}, MTU ${whole}`)]
}

function judgeDelivery({ step, delivery, destination, from, to }: LegObservation): readonly Finding[] {
  if (to === undefined) return []
  const where = { area: 'delivery', node: to.name } as const
  const last = delivery ?? step
  const whose = `${destination.name} (${destination.address})`
  if (destination.kind === 'container') return judgeContainerLink(where, last, whose)
  if (last.way.kind === 'refused') return [wrong(where, `node ${to.name} does not take it: ${refusal(last.way)}`)]
  if (last.way.type === 'local') return [right(where, `${destination.address} is of node ${to.name} itself`)]
  return [wrong(where, `${destination.address} is not an address of node ${to.name} (asked from ${from.name})`)]
}

function formatWay(way: Extract<RouteAnswer, { kind: 'way' }>): string {
  const via = way.gateway === undefined ? '' : ` via ${way.gateway}`
  const nexthop = way.matched?.nexthopId === undefined ? '' : ` nexthop ${way.matched.nexthopId}`
  const entry = way.matched === undefined ? '' : `${way.matched.prefix}${nexthop} `
  return `${way.type === 'unicast' ? '' : `${way.type} `}${entry}dev ${way.device ?? '-'}${via}`
}

const reasons: Readonly<Record<string, string>> = {
  ENETUNREACH: 'no route leads there',
  EHOSTUNREACH: 'a route refuses it (unreachable), or forwarding is off',
  EXDEV: 'the source address is not expected on that device (rp_filter)',
  EACCES: 'a route prohibits it',
  EINVAL: 'a blackhole route, or the source address is not possible there',
  ENODEV: 'the device is not there',
}

function refusal({ code }: Extract<RouteAnswer, { kind: 'refused' }>): string {
  return `${code}, ${reasons[code] ?? 'the kernel refuses it'}`
}

function right(where: Where, text: string): Finding {
  return { ...where, holds: true, text }
}

function wrong(where: Where, text: string, fix?: string): Finding {
  return { ...where, holds: false, text, ...(fix === undefined ? {} : { fix }) }
}
