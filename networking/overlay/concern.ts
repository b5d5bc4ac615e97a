import { type Link } from '../netlink/ops.ts'
import { type RouteEvent } from '../netlink/watch.ts'
import { routeProtocol } from '../protocol.ts'
import { isVxlanDeviceName, remoteMetric, unreachableMetric } from './objects.ts'

/** Which notifications are about the overlay: its own objects, and the underlay device that it follows from. */
export interface Concern {
  /** Begin anew with these links: after the start, and after notifications were lost. */
  reset(links: readonly Link[]): void
  /** @returns what the event is about, for a log; undefined when it is nothing of the overlay's */
  of(event: RouteEvent): string | undefined
}

interface Known {
  /** Indexes of the VXLAN devices. */
  readonly own: Set<number>
  underlay: { readonly index: number; readonly mtuBytes: number; readonly up: boolean } | undefined
}

/** Nothing is known before the first `reset`. */
export function openConcern(underlayDevice: string): Concern {
  const known: Known = { own: new Set(), underlay: undefined }
  return {
    reset: (links) => {
      known.own.clear()
      for (const { name, index } of links) if (isVxlanDeviceName(name)) known.own.add(index)
      known.underlay = links.find(({ name }) => name === underlayDevice)
    },
    of: (event) => {
      if (event.kind === 'resync') return event.reason === 'overflow' ? 'lost notifications' : undefined
      return event.object === 'link' ? linkConcern(known, event, underlayDevice) : otherConcern(known, event)
    },
  }
}

type Change = Extract<RouteEvent, { kind: 'changed' }>

/** Of the underlay device only what the overlay follows from counts: drivers tell a lot of themselves. */
function linkConcern(known: Known, { index, removed, facts = {} }: Change, underlayDevice: string) {
  const { name = '', mtuBytes = 0, up = false } = facts
  if (isVxlanDeviceName(name)) {
    if (removed) known.own.delete(index)
    else known.own.add(index)
    return `device ${name}`
  }
  if (name !== underlayDevice) return known.own.has(index) ? `device ${name}` : undefined // a new name
  const before = known.underlay
  known.underlay = removed ? undefined : { index, mtuBytes, up }
  const same = !removed && before?.index === index && before.mtuBytes === mtuBytes && before.up === up
  return same ? undefined : `underlay device ${name}`
}

function otherConcern(known: Known, { object, index, facts = {} }: Change): string | undefined {
  if (object === 'address') {
    if (index === known.underlay?.index) return 'underlay address'
    return known.own.has(index) ? 'address' : undefined
  }
  if (object === 'neighbour' || object === 'fdb') return known.own.has(index) ? object : undefined
  const { protocol, metric = 0, nexthopId } = facts
  if (object === 'nexthop') return protocol === routeProtocol ? 'nexthop' : undefined
  // A route of another's in the place of ours has another protocol, but must have our metric to be in that place.
  if (metric === unreachableMetric || metric === remoteMetric) return 'route'
  return protocol === routeProtocol && nexthopId !== undefined ? 'route' : undefined
}
