import { defaultVipScheduler } from '../../core/model/vip.ts'
import { formatVirtualServerKey, type RealServer, type VirtualServer } from '../dataplane.ts'
import { type IpvsDestination, type IpvsEntry, type IpvsOp, type IpvsService } from './ops.ts'

/** What the kernel has of ours, by key of the virtual server. */
export type IpvsState = ReadonlyMap<string, IpvsEntry>

/** The entry of a virtual server. */
export function ipvsEntry({ address, port, protocol, scheduler, backends }: VirtualServer): IpvsEntry {
  return {
    service: { address, port, protocol, scheduler: scheduler ?? defaultVipScheduler },
    destinations: backends.filter((backend) => isProgrammed(protocol, backend)).map(toDestination),
  }
}

/**
 * A UDP backend that gets nothing new is taken out: with weight 0 the kernel goes on sending it the datagrams of flows that
 * it knows, and such a flow has no end. Taking it out ends them (`expire_nodest_conn`), and the next datagram is steered
 * to another backend.
 */
function isProgrammed(protocol: VirtualServer['protocol'], { weight }: RealServer): boolean {
  return protocol === 'tcp' || weight > 0
}

function toDestination({ address, port, weight }: RealServer): IpvsDestination {
  return { address, port, weight }
}

/**
 * From what one virtual server is to what it shall be. Order: the service, then real servers that come, then weights, then
 * those that go, so that it is never without one while it has one; a scheduler is changed in place, connections stay.
 */
export function planIpvsEntry(before: IpvsEntry | undefined, after: IpvsEntry | undefined): readonly IpvsOp[] {
  if (after === undefined) return before === undefined ? [] : [{ kind: 'service.del', service: before.service }]
  const { service } = after
  const present = new Map((before?.destinations ?? []).map((one) => [destinationKey(one), one]))
  const wanted = new Set(after.destinations.map(destinationKey))
  const absent = after.destinations.filter((one) => !present.has(destinationKey(one)))
  const differing = after.destinations.filter((one) => {
    const found = present.get(destinationKey(one))
    return found !== undefined && (found.weight !== one.weight || found.odd === true)
  })
  return [
    ...planService(before?.service, service),
    ...absent.map((destination): IpvsOp => ({ kind: 'destination.add', service, destination })),
    ...differing.map((destination): IpvsOp => ({ kind: 'destination.set', service, destination })),
    ...[...present.values()]
      .filter((one) => !wanted.has(destinationKey(one)))
      .map((destination): IpvsOp => ({ kind: 'destination.del', service, destination })),
  ]
}

function planService(before: IpvsService | undefined, after: IpvsService): readonly IpvsOp[] {
  if (before === undefined) return [{ kind: 'service.add', service: after }]
  const same = before.scheduler === after.scheduler && before.odd === undefined
  return same ? [] : [{ kind: 'service.set', service: after }]
}

/** From one state to another: all that comes and changes, then services that go. */
export function planIpvs(before: IpvsState, after: IpvsState): readonly IpvsOp[] {
  const ops: IpvsOp[] = []
  for (const [key, entry] of after) ops.push(...planIpvsEntry(before.get(key), entry))
  for (const [key, entry] of before) if (!after.has(key)) ops.push(...planIpvsEntry(entry, undefined))
  return ops
}

/** Entries by key. */
export function ipvsState(entries: Iterable<IpvsEntry>): Map<string, IpvsEntry> {
  return new Map([...entries].map((entry) => [formatVirtualServerKey(entry.service), entry]))
}

function destinationKey({ address, port }: IpvsDestination): string {
  return `${address} ${port}`
}
