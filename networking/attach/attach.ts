import { AppError, errorMessage } from '../../core/base/errors.ts'
import { cidrParts } from '../../core/base/cidr.ts'
import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type RouteOp, type RouteSocket } from '../netlink/ops.ts'
import { type AttachKernel } from './kernel.ts'
import {
  type AttachSpec,
  type GatewayRoute,
  gatewayRoutes,
  hostSettings,
  insideSettings,
  planHostEnd,
  planHostRoutes,
  planInside,
  planLink,
} from './plan.ts'
import { type Sandbox } from './sandbox.ts'

/**
 * Wires one interface of one container: a veth pair, addresses and routes on both ends. Any step that fails undoes all.
 * @returns the routes that lead out of the container through it
 * @throws ERR_ATTACH_EXISTS when the container has such an interface; ERR_ATTACH_NETNS; ERR_ATTACH_FAILED with nothing
 *   changed
 */
export async function attachContainer(
  kernel: AttachKernel,
  spec: AttachSpec,
  sandbox: Sandbox,
): Promise<readonly GatewayRoute[]> {
  const inside = kernel.openInside(sandbox.fd)
  try {
    if ((await inside.link(spec.ifname)) !== undefined) {
      throw new AppError('ERR_ATTACH_EXISTS', `CNI_IFNAME ${spec.ifname} exists in ${sandbox.path}: DEL it first`)
    }
    const routes = gatewayRoutes(spec, await familiesWithDefault(inside))
    await performAll(kernel.host, planLink(spec, sandbox.fd), spec)
    try {
      kernel.writeSettings('host', hostSettings(spec))
      kernel.writeSettings(sandbox.fd, insideSettings(spec))
      await performAll(kernel.host, planHostEnd(spec), spec)
      await performAll(inside, planInside(spec, routes), spec)
      await performAll(kernel.host, planHostRoutes(spec), spec)
    } catch (error) {
      await undo(kernel, spec, error)
    }
    return routes
  } finally {
    inside.close()
  }
}

/**
 * Takes an interface away by its node's end; its peer, addresses and routes go with it, whatever became of the
 * container's namespace. Idempotent.
 * @throws ERR_ATTACH_FAILED
 */
export async function detachContainer(kernel: AttachKernel, hostLink: string): Promise<void> {
  try {
    await kernel.removeLinks([hostLink])
  } catch (cause) {
    throw new AppError('ERR_ATTACH_FAILED', `cannot remove link ${hostLink}: ${errorMessage(cause)}`, { cause })
  }
}

async function undo(kernel: AttachKernel, spec: AttachSpec, error: unknown): Promise<never> {
  try {
    await detachContainer(kernel, spec.hostLink)
  } catch (second) {
    const message = `attaching failed (${errorMessage(error)}), and so did undoing it: ${errorMessage(second)}`
    throw new AppError('ERR_ATTACH_FAILED', message, { cause: error })
  }
  throw error
}

async function familiesWithDefault(inside: RouteSocket): Promise<ReadonlySet<IpFamily>> {
  const routes = await inside.routes({ table: 254 })
  const defaults = routes.filter(({ destination, type }) => type === 'unicast' && cidrParts(destination).length === 0)
  return new Set(defaults.map(({ destination }) => ipFamily(destination)))
}

async function performAll(socket: RouteSocket, ops: readonly RouteOp[], spec: AttachSpec): Promise<void> {
  const outcomes = await socket.perform(ops)
  for (const outcome of outcomes) {
    if (outcome.ok) continue
    const message = `cannot attach ${spec.ifname} (${spec.hostLink}): ${errorMessage(outcome.error)}`
    throw new AppError('ERR_ATTACH_FAILED', message, { cause: outcome.error })
  }
}
