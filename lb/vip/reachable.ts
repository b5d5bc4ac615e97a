import { type NodeName } from '../../core/model/ids.ts'
import { type RealServer } from '../dataplane.ts'

/** A backend and the node that it is on. */
export interface PlacedBackend {
  readonly node: NodeName
  readonly backend: RealServer
}

/**
 * The backends of one virtual server without those that can't be reached: weight 0, so that nothing new goes there and what
 * is established may yet come through. When nothing that serves can be reached, all keep their weights: then it is more
 * likely that this node is cut off, or wrong about the others, than that every backend is gone at once.
 * Source: dcos-net, dcos_l4lb_mgr (reference/vip-load-balancer.md, "Backends").
 */
export function bypassUnreachable<T extends PlacedBackend>(
  group: readonly T[],
  unreachable: ReadonlySet<NodeName>,
): readonly T[] {
  const isBypassed = ({ node, backend }: PlacedBackend) => backend.weight > 0 && unreachable.has(node)
  const reached = group.some((one) => one.backend.weight > 0 && !unreachable.has(one.node))
  if (!reached || !group.some(isBypassed)) return group
  return group.map((one) => (isBypassed(one) ? { ...one, backend: { ...one.backend, weight: 0 } } : one))
}
