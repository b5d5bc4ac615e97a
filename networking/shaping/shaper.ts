import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Bandwidth } from '../ipam/lease.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { type TrafficControl } from '../netlink/traffic.ts'
import { planShaping, type ShapingPlan, shapingLinkName } from './plan.ts'

/** Limits what passes a container's interface. */
export interface Shaper {
  /** `hostLink` is the node's end, up. Idempotent: replaces what was there. @throws ERR_SHAPING_FAILED with nothing left */
  apply(hostLink: string, bandwidth: Bandwidth): Promise<void>
  /** Idempotent; called before the link goes, and with it what limits it. @throws ERR_NETLINK_<ERRNO> */
  remove(hostLink: string): Promise<void>
}

/** What it works with: all of the node's namespace. */
export interface ShaperOptions {
  readonly routes: Pick<RouteSocket, 'perform' | 'link'>
  readonly traffic: Pick<TrafficControl, 'perform'>
  /** Resolves when the links are gone. */
  readonly removeLinks: (names: readonly string[]) => Promise<void>
}

/** Opens it; nothing is changed yet. */
export function openShaper(options: ShaperOptions): Shaper {
  const { routes, traffic, removeLinks } = options
  const remove = async (hostLink: string) => {
    const helper = shapingLinkName(hostLink)
    // Looked for first: most containers have none, and a removal makes its caller wait.
    if ((await routes.link(helper)) !== undefined) await removeLinks([helper])
  }
  return {
    remove,
    apply: async (hostLink, bandwidth) => {
      const plan = planShaping(hostLink, bandwidth)
      const clear = async () => {
        traffic.perform([
          { kind: 'root.del', device: hostLink },
          { kind: 'ingress.del', device: hostLink },
        ])
        await remove(hostLink)
      }
      await clear()
      try {
        await perform(options, plan)
      } catch (cause) {
        await clear()
        throw new AppError('ERR_SHAPING_FAILED', `cannot limit ${hostLink}: ${errorMessage(cause)}`, { cause })
      }
    },
  }
}

async function perform({ routes, traffic }: ShaperOptions, { links, traffic: ops }: ShapingPlan): Promise<void> {
  for (const outcome of await routes.perform(links)) if (!outcome.ok) throw outcome.error
  traffic.perform(ops)
}
