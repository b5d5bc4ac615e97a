import { AppError } from '../core/base/errors.ts'
import { type Ip } from '../core/base/ip.ts'
import { type NodeName } from '../core/model/ids.ts'
import { type ClusterSnapshot } from '../core/model/snapshot.ts'
import { formatRouteOp } from '../networking/netlink/format.ts'
import { type RouteOp, type RouteSocket } from '../networking/netlink/ops.ts'
import { type Repair, type SnapshotChange, type Stage } from '../networking/node/stage.ts'
import { type DataPlane, type LbOp, type VirtualServer } from './dataplane.ts'
import { isVipRoute, planVipRoutes, vipRoute, vipRouteFilter } from './routes.ts'
import { makeVipIndex, type VipIndex } from './vip/vip-index.ts'

/** What the stage works with. */
export interface LbStageOptions {
  /** This node's name: its VTEP address is the source of its own connections to VIPs. */
  readonly self: NodeName
  readonly plane: DataPlane
  readonly routes: RouteSocket
  readonly guard?: AddressGuard
}

/** Is told of VIPs while they are local addresses of the node, for which it must not take them: port mappings. */
export interface AddressGuard {
  /** Before they are routed. */
  add(addresses: readonly Ip[]): Promise<void>
  /** When they are routed no more. */
  remove(addresses: readonly Ip[]): Promise<void>
  /** These and no others, before the first of them is routed. */
  replace(addresses: readonly Ip[]): Promise<void>
}

/**
 * Virtual servers and the routes that make their addresses local. Order: a server with its backends is programmed before
 * its address is routed, and the address is unrouted before the server goes, so that an address that answers at all leads
 * to a backend. Backends that leave a server that stays are taken out in `add` already: the sooner the better. Not the last
 * one: its server would refuse while its name, which goes in `remove` before this stage's, still leads there.
 */
export function openLbStage(options: LbStageOptions): LbStage {
  const { self, plane, routes, guard } = options
  const index = makeVipIndex(self)
  const glance = openGlance(options, index)
  return {
    name: 'lb',
    plan: (change) => {
      const steps = planChange(index, change, self)
      glance.unsettled()
      return {
        add: async ({ signal }) => {
          await plane.apply(steps.ensure, { signal })
          if (steps.coming.length > 0) await guard?.add(steps.coming)
          await perform(routes, steps.routed)
        },
        remove: async ({ signal }) => {
          await plane.apply(steps.silence, { signal })
          await perform(routes, steps.unrouted)
          if (steps.leaving.length > 0) await guard?.remove(steps.leaving)
          await plane.apply(steps.remove, { signal })
          glance.settled(change.next)
        },
      }
    },
    audit: async (snapshot, { signal }) => {
      glance.unsettled()
      const repairs = await audit(options, { index, snapshot, signal })
      glance.settled(snapshot)
      return repairs
    },
    differs: glance.differs,
  }
}

/** The stage, which can also look quickly whether somebody changed what it programmed. */
export interface LbStage extends Stage {
  /** True when a VIP's route or a virtual server is not as it was programmed; false while a change is under way. */
  differs(options: { readonly signal: AbortSignal }): Promise<boolean>
}

function openGlance({ self, plane, routes }: LbStageOptions, index: VipIndex) {
  let programmed: ClusterSnapshot | undefined
  const routesDiffer = async (snapshot: ClusterSnapshot) => {
    const actual = (await routes.routes(vipRouteFilter)).filter(isVipRoute)
    if (programmed !== snapshot) return false
    const node = snapshot.nodes.get(self)
    const desired = index.all(snapshot).addresses.map((address) => vipRoute(address, node))
    const { add, remove } = planVipRoutes(desired, actual)
    return add.length + remove.length > 0
  }
  return {
    unsettled: () => {
      programmed = undefined
    },
    settled: (snapshot: ClusterSnapshot) => {
      programmed = snapshot
    },
    differs: async ({ signal }: { readonly signal: AbortSignal }) => {
      if (programmed === undefined) return false
      return (await routesDiffer(programmed)) || ((await plane.differs?.({ signal })) ?? false)
    },
  }
}

function serves({ backends }: VirtualServer): boolean {
  return backends.some(({ weight }) => weight > 0)
}

interface LbSteps {
  readonly coming: readonly Ip[]
  readonly leaving: readonly Ip[]
  readonly ensure: readonly LbOp[]
  /** Servers that nothing serves any more. */
  readonly silence: readonly LbOp[]
  readonly routed: readonly RouteOp[]
  readonly unrouted: readonly RouteOp[]
  readonly remove: readonly LbOp[]
}

function planChange(index: VipIndex, change: SnapshotChange, self: NodeName): LbSteps {
  const { ensure, remove, routed, unrouted } = index.change(change)
  const [before, after] = [change.previous.nodes.get(self), change.next.nodes.get(self)]
  const sourceMoved = before?.vtep.addresses.join() !== after?.vtep.addresses.join()
  const toRoute: readonly Ip[] = sourceMoved ? index.all(change.next).addresses : routed
  const coming = new Set(routed)
  const silenced = (server: VirtualServer) => !serves(server) && !coming.has(server.address)
  const op = (server: VirtualServer): LbOp => ({ kind: 'server.ensure', server })
  return {
    coming: routed,
    leaving: unrouted,
    ensure: ensure.filter((server) => !silenced(server)).map(op),
    silence: ensure.filter(silenced).map(op),
    routed: toRoute.map((address) => ({ kind: 'route.replace', route: vipRoute(address, after) })),
    // Without a source: the route goes whatever source it has.
    unrouted: unrouted.map((address) => ({ kind: 'route.del', route: vipRoute(address, undefined) })),
    remove: remove.map((server) => ({ kind: 'server.remove', server })),
  }
}

interface AuditRound {
  readonly index: VipIndex
  readonly snapshot: ClusterSnapshot
  readonly signal: AbortSignal
}

async function audit(
  { self, plane, routes, guard }: LbStageOptions,
  { index, snapshot, signal }: AuditRound,
): Promise<readonly Repair[]> {
  const { servers, addresses } = index.all(snapshot)
  const node = snapshot.nodes.get(self)
  const desired = addresses.map((address) => vipRoute(address, node))
  const actual = (await routes.routes(vipRouteFilter)).filter(isVipRoute)
  const { add, remove } = planVipRoutes(desired, actual)
  await perform(routes, remove)
  const repaired = await plane.repair(servers, { signal })
  await guard?.replace(addresses)
  await perform(routes, add)
  return [...remove.map(formatRouteOp), ...repaired, ...add.map(formatRouteOp)].map((operation) => ({
    stage: 'lb',
    operation,
  }))
}

/** @throws AggregateError with an ERR_LB_ROUTE for each op that failed, after all were tried */
async function perform(routes: RouteSocket, ops: readonly RouteOp[]): Promise<void> {
  if (ops.length === 0) return
  const outcomes = await routes.perform(ops)
  const errors = ops.flatMap((op, i) => {
    const outcome = outcomes[i]
    if (outcome === undefined || outcome.ok) return []
    const text = `${formatRouteOp(op)}: ${outcome.error.message}`
    return [new AppError('ERR_LB_ROUTE', `a VIP's route could not be changed: ${text}`, { cause: outcome.error })]
  })
  if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '))
}
