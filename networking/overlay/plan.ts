import { unreachable } from '../../core/base/errors.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type SnapshotDelta } from '../../core/model/snapshot.ts'
import { type LinkChange, type RouteOp, type RouteSpec } from '../netlink/ops.ts'
import { desiredOverlay, overlayContext, type OverlayInputs } from './desired.ts'
import { desiredRemote } from './desired-remote.ts'
import {
  needsRecreation,
  type OverlayObject,
  overlayKey,
  type OverlayState,
  sameObject,
  type VxlanDevice,
} from './objects.ts'

/** Ops in applying order: all of `add`, then all of `remove`. */
export interface OverlayPlan {
  readonly add: readonly RouteOp[]
  readonly remove: readonly RouteOp[]
}

/** From one snapshot to the next, as the node's stages get it. */
export interface OverlayChange {
  readonly previous: ClusterSnapshot
  readonly next: ClusterSnapshot
  readonly delta: SnapshotDelta
}

/**
 * Each kind needs those before it: a nexthop is refused on a device that is down, an address must be local before a
 * route prefers it as source, and a route comes last because it is what sends packets: by then the neighbour and the
 * FDB entry are there, so that the first packet is not lost to a resolution that nobody answers.
 */
const makingOrder = ['link', 'address', 'fdb', 'neighbour', 'nexthop', 'route'] as const

/** What happens to a device that is not as wanted: `flushed` loses its neighbours only. */
type Fate = 'recreated' | 'flushed' | 'removed'

/**
 * What leads from `actual` to `desired`. `add` makes and changes in {@link makingOrder}; `remove` deletes in the
 * reverse order, routes first, so that no packet is sent to something half gone. Objects that the kernel drops together
 * with their device are not deleted one by one, and are made again where the device is.
 */
export function planOverlay(desired: OverlayState, actual: OverlayState): OverlayPlan {
  const fates = deviceFates(desired, actual)
  return { add: additions(desired, actual, fates), remove: removals(desired, actual, fates) }
}

/**
 * The same where nothing of ours is there yet. Objects of one key (there are none in a snapshot as the master makes it) are
 * each made: the last one stays, as in {@link planOverlay}.
 */
export function planFresh(desired: readonly OverlayObject[]): OverlayPlan {
  const made = byKind()
  for (const wanted of desired) pushMaking(made, wanted, undefined)
  return { add: makingOrder.flatMap((kind) => made[kind]), remove: [] }
}

type OpsByKind = Record<OverlayObject['kind'], RouteOp[]>

function pushMaking(made: OpsByKind, wanted: OverlayObject, found: OverlayObject | undefined): void {
  if (wanted.kind === 'link') made.link.push(...linkOps(wanted.link, found?.kind === 'link' ? found.link : undefined))
  else made[wanted.kind].push(makeOp(wanted))
}

/** One list of ops for each kind, joined in the order of the kinds. */
function byKind(): OpsByKind {
  return { link: [], address: [], fdb: [], neighbour: [], nexthop: [], route: [] }
}

/**
 * The same for two snapshots. As long as no network and not the node itself changes, only the nodes of the delta are
 * looked at: the cost does not grow with the cluster.
 */
export function planOverlayChange(change: OverlayChange, inputs: OverlayInputs): OverlayPlan {
  const { previous, next, delta } = change
  const before = overlayContext(previous, inputs)
  const after = overlayContext(next, inputs)
  const names = new Set<NodeName>([...delta.nodes.removals, ...delta.nodes.upserts.keys()])
  const networksStay = delta.networks.upserts.size === 0 && delta.networks.removals.size === 0
  if (before === undefined || after === undefined || names.has(inputs.self) || !networksStay) {
    return planOverlay(desiredOverlay(next, inputs), desiredOverlay(previous, inputs))
  }
  const desired = new Map<string, OverlayObject>()
  const actual = new Map<string, OverlayObject>()
  for (const name of names) {
    const old = previous.nodes.get(name)
    const current = next.nodes.get(name)
    if (old !== undefined) for (const object of desiredRemote(before, old)) actual.set(overlayKey(object), object)
    if (current !== undefined)
      for (const object of desiredRemote(after, current)) desired.set(overlayKey(object), object)
  }
  return planOverlay(desired, actual)
}

function deviceFates(desired: OverlayState, actual: OverlayState): ReadonlyMap<string, Fate> {
  const fates = new Map<string, Fate>()
  for (const [key, found] of actual) {
    if (found.kind !== 'link') continue
    const wanted = desired.get(key)
    if (wanted?.kind !== 'link') fates.set(found.device, 'removed')
    else if (needsRecreation(wanted.link, found.link)) fates.set(found.device, 'recreated')
    // A new MAC makes the kernel drop the device's neighbours, permanent ones too: net/core/neighbour.c, neigh_changeaddr.
    else if (wanted.link.mac !== found.link.mac) fates.set(found.device, 'flushed')
  }
  return fates
}

function additions(desired: OverlayState, actual: OverlayState, fates: ReadonlyMap<string, Fate>): readonly RouteOp[] {
  const made = byKind()
  for (const [key, wanted] of desired) {
    const found = actual.get(key)
    const fate = found === undefined ? undefined : fates.get(found.device)
    const lost = wanted.kind !== 'link' && fate === 'recreated'
    const flushed = wanted.kind === 'neighbour' && fate === 'flushed'
    if (found !== undefined && !lost && !flushed && sameObject(wanted, found)) continue
    pushMaking(made, wanted, found)
  }
  return makingOrder.flatMap((kind) => made[kind])
}

function removals(desired: OverlayState, actual: OverlayState, fates: ReadonlyMap<string, Fate>): readonly RouteOp[] {
  const gone = byKind()
  for (const [key, found] of actual) {
    const fate = fates.get(found.device)
    const goesWithDevice = found.kind !== 'link' && (fate === 'recreated' || fate === 'removed')
    if (!goesWithDevice && !desired.has(key)) gone[found.kind].push(removeOp(found))
  }
  return makingOrder.toReversed().flatMap((kind) => gone[kind])
}

function makeOp(wanted: Exclude<OverlayObject, { kind: 'link' }>): RouteOp {
  switch (wanted.kind) {
    case 'address':
      return { kind: 'address.replace', address: wanted.address }
    case 'neighbour':
      return { kind: 'neighbour.replace', neighbour: wanted.neighbour }
    case 'fdb':
      return { kind: 'fdb.replace', fdb: wanted.fdb }
    case 'nexthop':
      return { kind: 'nexthop.replace', nexthop: wanted.nexthop }
    case 'route':
      return { kind: 'route.replace', route: wanted.route }
    default:
      return unreachable(wanted)
  }
}

function linkOps(wanted: VxlanDevice, found: VxlanDevice | undefined): readonly RouteOp[] {
  const { up, ...spec } = wanted
  const name = wanted.name
  const add: readonly RouteOp[] = [
    { kind: 'link.add', link: { type: 'vxlan', ...spec } },
    { kind: 'link.set', name, change: { state: up ? 'up' : 'down' } },
  ]
  if (found === undefined) return add
  if (needsRecreation(wanted, found)) return [{ kind: 'link.del', name }, ...add]
  const change: LinkChange = {
    ...(wanted.mtuBytes === found.mtuBytes ? {} : { mtuBytes: wanted.mtuBytes }),
    ...(wanted.mac === found.mac ? {} : { mac: wanted.mac }),
    ...(up === found.up ? {} : { state: up ? 'up' : 'down' }),
  }
  return [{ kind: 'link.set', name, change }]
}

function removeOp(object: OverlayObject): RouteOp {
  switch (object.kind) {
    case 'link':
      return { kind: 'link.del', name: object.link.name }
    case 'address':
      return { kind: 'address.del', address: object.address }
    case 'neighbour':
      return { kind: 'neighbour.del', neighbour: object.neighbour }
    case 'fdb':
      return { kind: 'fdb.del', fdb: object.fdb }
    case 'nexthop':
      return { kind: 'nexthop.del', id: object.nexthop.id }
    case 'route':
      return { kind: 'route.del', route: routeIdentity(object.route) }
    default:
      return unreachable(object)
  }
}

/** Without the nexthop: where that went first, and took the route along, the kernel would call its id invalid. */
function routeIdentity({ destination, type, protocol, table, metric }: RouteSpec): RouteSpec {
  return {
    destination,
    type,
    protocol,
    ...(table === undefined ? {} : { table }),
    ...(metric === undefined ? {} : { metric }),
  }
}
