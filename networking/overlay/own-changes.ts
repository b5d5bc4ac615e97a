import { type Clock } from '../../core/base/clock.ts'
import { type RouteOp, type RouteSocket } from '../netlink/ops.ts'
import { type RouteEvent } from '../netlink/watch.ts'

/**
 * Tells echoes of our own changes from changes by others. The kernel queues a notification while it performs the request,
 * so an echo is read within milliseconds; but it does not say reliably who asked (VXLAN forwarding entries carry no sender,
 * drivers/net/vxlan, vxlan_fdb_notify). So each op of ours allows a few notifications for a short while: additions only
 * such of things made, deletions only such of things removed, because what others do to us is mostly to remove. A foreign
 * change that hides in that moment is found by the next timed audit.
 */
export interface OwnChanges {
  /** The same socket, with what it performs counted. */
  observe(routes: RouteSocket): RouteSocket
  /** True when the event is likely an echo; it is then used up. */
  absorb(event: RouteEvent): boolean
}

/** How long after the last op echoes may still come, in milliseconds: the event loop may be busy meanwhile. */
const echoMs = 250

/** A device tells its making, its going up and its addresses, each more than once. */
const echoesOf = { link: 8, other: 2 } as const

/** Opens it with nothing allowed. */
export function openOwnChanges(clock: Clock): OwnChanges {
  let allowed = { made: 0, removed: 0 }
  let cancel: () => void = () => undefined
  const allow = (ops: readonly RouteOp[]) => {
    cancel()
    for (const { kind } of ops) {
      const count = kind.startsWith('link.') ? echoesOf.link : echoesOf.other
      if (kind.endsWith('.del')) allowed.removed += count
      else allowed.made += count
    }
  }
  const settle = () => {
    cancel()
    cancel = clock.after(echoMs, () => {
      allowed = { made: 0, removed: 0 }
    })
  }
  return {
    observe: (routes) => ({
      ...routes,
      perform: async (ops) => {
        allow(ops)
        try {
          return await routes.perform(ops)
        } finally {
          settle()
        }
      },
    }),
    absorb: (event) => {
      if (event.kind !== 'changed') return false
      const side = event.removed ? 'removed' : 'made'
      if (allowed[side] === 0) return false
      allowed[side]--
      return true
    },
  }
}
