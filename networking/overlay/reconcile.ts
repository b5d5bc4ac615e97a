import { cidrOf } from '../../core/base/cidr.ts'
import { AppError } from '../../core/base/errors.ts'
import { type Cidr, familyBits, ipFamily } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NetworkName, type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Network, type Node } from '../../core/model/snapshot.ts'
import { type Address, type Link, type RouteOp, type RouteSocket } from '../netlink/ops.ts'
import { linkPrefix } from '../protocol.ts'
import { applyOverlay } from './apply.ts'
import { refuseClashes } from './clash.ts'
import { desiredObjects, desiredOverlay, overlayContext, type OverlayInputs } from './desired.ts'
import { desiredSysctls } from './desired-sysctls.ts'
import { type DirectRouting, directWay } from './direct.ts'
import { type OverlayState, vxlanDeviceName } from './objects.ts'
import { planFresh, planOverlay } from './plan.ts'
import { overlayProblems } from './problems.ts'
import { readOverlay } from './read.ts'
import { applySysctls, formatSysctl, type Sysctl } from './sysctl.ts'

/** What the overlay of one node works with. All of it belongs to that node's network namespace. */
export interface OverlayStageOptions {
  readonly routes: RouteSocket
  /** Name of this node in the snapshot. */
  readonly self: NodeName
  /** The device that reaches the other nodes; its MTU is read. Packets leave by whatever route the machine has. */
  readonly underlayDevice: string
  readonly directRouting: DirectRouting
  /** What probes found to pass on the way to nodes, in octets of the underlay; absent: nothing is probed. */
  readonly pathMtuBytes?: () => ReadonlyMap<NodeName, number>
  readonly sysctl: Sysctl
  /** A VXLAN device was made, for the first time or again. */
  readonly onDevice?: (device: string) => void
  readonly log: Logger
}

/** What a round did, and the inputs that it read. */
export interface OverlayRound {
  readonly ops: readonly RouteOp[]
  /** As commands. */
  readonly settings: readonly string[]
  readonly inputs: OverlayInputs
}

/** `additions` leaves what is there too much: a later step of the pipeline takes it away. */
export type OverlayRoundScope = 'all' | 'additions'

/**
 * Compares the kernel with the snapshot and makes it so. A network whose range clashes with a route of the machine gets
 * no device; all else is done before that is told. A snapshot without this node itself says nothing of what is to be
 * here (the master may not have admitted it yet), so nothing is swept for it; only a change that removes the node does
 * that.
 * @throws AggregateError of ERR_OVERLAY_APPLY, ERR_OVERLAY_SYSCTL, ERR_OVERLAY_CLASH, after everything was tried
 * @throws ERR_OVERLAY_UNDERLAY when there is no such device
 */
export async function reconcileOverlay(
  options: OverlayStageOptions,
  snapshot: ClusterSnapshot,
  { scope, signal }: { readonly scope: OverlayRoundScope; readonly signal: AbortSignal },
): Promise<OverlayRound> {
  const { routes, self, underlayDevice, log } = options
  const { state: actual, links, addresses } = await readOverlay(routes, underlayDevice, { signal })
  const inputs = overlayInputs(options, links, addresses)
  if (!snapshot.nodes.has(self)) {
    log.warn({ node: self, version: snapshot.version }, 'the snapshot lacks this node: its overlay stays as it is')
    return { ops: [], settings: [], inputs }
  }
  reportProblems(options, snapshot, inputs)
  const { refused, errors } = await refusedNetworks(options, snapshot, actual)
  const allowed = withoutNetworks(snapshot, refused)
  const plan =
    actual.size === 0
      ? planFresh(desiredObjects(allowed, inputs))
      : planOverlay(desiredOverlay(allowed, inputs), actual)
  const { add, remove } = scope === 'all' ? plan : { add: plan.add, remove: [] }
  await attempt(errors, () => applyOverlay(routes, add, { signal }))
  for (const op of add) if (op.kind === 'link.add') options.onDevice?.(op.link.name)
  const settings = await attempt(errors, async () => setSysctls(options, { snapshot: allowed, links, inputs }))
  await attempt(errors, () => applyOverlay(routes, remove, { signal }))
  if (errors.length > 0) throw new AggregateError(errors, 'the overlay is not as the snapshot says')
  return { ops: [...add, ...remove], settings: settings ?? [], inputs }
}

/** What the overlay follows from, out of what was read. @throws ERR_OVERLAY_UNDERLAY without the underlay device */
export function overlayInputs(
  { self, underlayDevice: device, directRouting, pathMtuBytes }: OverlayStageOptions,
  links: readonly Link[],
  addresses: readonly Address[],
): OverlayInputs {
  const direct = directWay(directRouting, { device, addresses })
  return {
    self,
    underlayMtuBytes: underlayMtuBytes(links, device),
    ...(direct === undefined ? {} : { direct }),
    ...(pathMtuBytes === undefined ? {} : { pathMtuBytes: new Map(pathMtuBytes()) }),
  }
}

function underlayMtuBytes(links: readonly Link[], device: string): number {
  const link = links.find(({ name }) => name === device)
  if (link !== undefined) return link.mtuBytes
  const advice = 'name the device that reaches the other nodes'
  throw new AppError('ERR_OVERLAY_UNDERLAY', `there is no underlay device ${device} on this machine: ${advice}`)
}

/** Networks without a device yet whose ranges, or this node's VTEP address, overlap a route of the machine. */
async function refusedNetworks({ routes, self }: OverlayStageOptions, snapshot: ClusterSnapshot, actual: OverlayState) {
  const refused = new Set<NetworkName>()
  const errors: unknown[] = []
  const node = snapshot.nodes.get(self)
  const fresh = [...snapshot.networks.values()].filter(({ vni }) => !actual.has(`link ${vxlanDeviceName(vni)}`))
  if (node === undefined || fresh.length === 0) return { refused, errors }
  const known = await routes.routes()
  for (const network of fresh) {
    try {
      refuseClashes(rangesOf(network, node), known)
    } catch (error) {
      refused.add(network.name)
      errors.push(error)
    }
  }
  return { refused, errors }
}

function rangesOf({ subnets }: Network, { vtep }: Node): readonly Cidr[] {
  return [...subnets, ...vtep.addresses.map((address) => cidrOf(address, familyBits(ipFamily(address))))]
}

function withoutNetworks(snapshot: ClusterSnapshot, names: ReadonlySet<NetworkName>): ClusterSnapshot {
  if (names.size === 0) return snapshot
  return { ...snapshot, networks: new Map([...snapshot.networks].filter(([name]) => !names.has(name))) }
}

function reportProblems({ log }: OverlayStageOptions, snapshot: ClusterSnapshot, inputs: OverlayInputs): void {
  const context = overlayContext(snapshot, inputs)
  const problems = context === undefined ? [] : overlayProblems(snapshot, context)
  if (problems.length === 0) return
  log.error({ version: snapshot.version, count: problems.length, first: problems.slice(0, 10) }, 'overlay has gaps')
}

interface Settled {
  readonly snapshot: ClusterSnapshot
  readonly links: readonly Link[]
  readonly inputs: OverlayInputs
}

function setSysctls({ sysctl }: OverlayStageOptions, { snapshot, links, inputs }: Settled) {
  const others = links.map(({ name }) => name).filter((name) => !name.startsWith(linkPrefix))
  return applySysctls(sysctl, desiredSysctls(snapshot, inputs.direct), others).map(formatSysctl)
}

async function attempt<T>(errors: unknown[], task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task()
  } catch (error) {
    if (error instanceof AggregateError) errors.push(...error.errors)
    else errors.push(error)
    return undefined
  }
}
