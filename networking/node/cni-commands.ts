import { type NetworkConfig } from '../../cni-plugins/cni/config.ts'
import { type JsonObject, objectField, stringField } from '../../cni-plugins/cni/json.ts'
import { type Attachment, type CniRequest } from '../../cni-plugins/cni/request.ts'
import { type CniResult, mergeCniResults } from '../../cni-plugins/cni/result.ts'
import { formatCniResult } from '../../cni-plugins/cni/result-format.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NetworkName, parseMac, parseNetworkName } from '../../core/model/ids.ts'
import { attachContainer, detachContainer } from '../attach/attach.ts'
import { checkContainer } from '../attach/check.ts'
import { type AttachKernel } from '../attach/kernel.ts'
import { hostLinkName, interfaceMac } from '../attach/names.ts'
import { type AttachSpec, type GatewayRoute, gatewayOf, hostCidr } from '../attach/plan.ts'
import { openSandbox, type Sandbox } from '../attach/sandbox.ts'
import { type Lease, type LeaseKey, type LeasePortMapping } from '../ipam/lease.ts'
import { type Leases } from '../ipam/leases.ts'
import { type CniView, type NetworkView, type PortMapper, type Shaper } from './cni-view.ts'

/** What the commands work with. */
export interface CniDeps {
  readonly leases: Leases
  readonly kernel: AttachKernel
  readonly view: () => CniView
  readonly log: Logger
  readonly portMapper?: PortMapper
  readonly shaper?: Shaper
}

type Request<Kind extends CniRequest['kind']> = Extract<CniRequest, { readonly kind: Kind }>

/**
 * ADD: lease, then wiring; what was done is undone when a later step fails, so that a retry works.
 * @throws ERR_CNI_TRY_AGAIN when the node has no part of the network yet; ERR_IPAM_*, ERR_ATTACH_*, ERR_CNI_FIELD
 */
export async function addContainer(deps: CniDeps, request: Request<'ADD'>): Promise<JsonObject> {
  const { config, attachment, wishes, netns } = request
  const mappings = wishes.portMappings
  refuseForeignIpam(config)
  const network = networkView(deps, config.name)
  const sandbox = openSandbox(netns, deps.kernel.forbidden)
  try {
    const key = leaseKey(config, attachment)
    const hostLink = hostLinkName(attachment)
    await clearLeftover(deps, key, hostLink)
    const mac = wishes.mac ?? interfaceMac('container', attachment)
    const lease = await deps.leases.allocate({ ...key, subnets: network.subnets, mac, hostLink, wanted: wishes.ips })
    const spec = specOf(lease, network)
    const routes = await wire(deps, { lease, spec, mappings }, sandbox)
    const own = resultOf(spec, { routes, sandbox, dns: deps.view().dns })
    const result = request.prevResult === undefined ? own : mergeCniResults(request.prevResult, own)
    return formatCniResult(result, config.cniVersion)
  } finally {
    sandbox.close()
  }
}

/** DEL: idempotent; the address comes back last, when nothing leads to the container any more. */
export async function deleteContainer(deps: CniDeps, { config, attachment }: Request<'DEL'>): Promise<void> {
  await remove(deps, leaseKey(config, attachment))
}

/** CHECK. @throws ERR_ATTACH_CHECK naming everything that is wrong; ERR_CNI_CONTAINER when it was never added */
export async function checkAttached(deps: CniDeps, request: Request<'CHECK'>): Promise<void> {
  const { config, attachment, netns, prevResult } = request
  const key = leaseKey(config, attachment)
  const lease = deps.leases.get(key)
  if (lease === undefined) {
    throw new AppError('ERR_CNI_CONTAINER', `no lease for ${key.container} ${key.ifname} on ${key.network}: ADD it`)
  }
  const sandbox = openSandbox(netns, deps.kernel.forbidden)
  try {
    const index = prevResult.interfaces.findIndex(
      ({ name, sandbox: path }) => name === key.ifname && path !== undefined,
    )
    const mac = prevResult.interfaces[index]?.mac ?? lease.mac
    const { hostLink, addresses } = lease
    const hostMac = interfaceMac('host', attachment)
    const routes = prevResult.routes.flatMap(({ destination, gateway }) =>
      gateway !== undefined && gateway === gatewayOf(ipFamily(destination)) ? [{ destination, gateway }] : [],
    )
    const spec = { hostLink, hostMac, ifname: key.ifname, mac: parseMac(mac.toLowerCase()), addresses }
    const unsaid = addresses.filter((address) => !prevResult.ips.some((ip) => ip.address === address))
    const problems = [
      ...unsaid.map((address) => `the lease has ${address}, which prevResult does not`),
      ...(await checkContainer(deps.kernel, { spec, routes }, sandbox)),
    ]
    if (problems.length > 0) throw new AppError('ERR_ATTACH_CHECK', problems.join('; '))
  } finally {
    sandbox.close()
  }
}

/** GC: frees what is not named, of this network only; without a list, nothing. @throws AggregateError of what failed */
export async function collectGarbage(deps: CniDeps, { config, valid }: Request<'GC'>): Promise<void> {
  if (valid === undefined) return
  const alive = new Set(valid.map(({ containerId, ifname }) => `${containerId}\0${ifname}`))
  const stale = deps.leases
    .list()
    .filter(({ network, container, ifname }) => network === config.name && !alive.has(`${container}\0${ifname}`))
  const failures: unknown[] = []
  for (const lease of stale) await remove(deps, lease).catch((error) => failures.push(error))
  if (failures.length > 0) {
    throw new AggregateError(failures, `GC failed for ${failures.length}: ${failures.map(errorMessage).join('; ')}`)
  }
}

/** STATUS: would ADD work now? @throws ERR_CNI_UNAVAILABLE */
export async function reportStatus(deps: CniDeps, { config }: Request<'STATUS'>): Promise<void> {
  try {
    for (const subnet of networkView(deps, config.name).subnets) {
      if (deps.leases.usage(subnet).free > 0n) continue
      throw new AppError('ERR_CNI_UNAVAILABLE', `no free address in ${subnet}: stop some container`)
    }
  } catch (cause) {
    if (cause instanceof AppError && cause.code !== 'ERR_CNI_CONFIG') {
      throw new AppError('ERR_CNI_UNAVAILABLE', cause.message)
    }
    throw cause
  }
}

/** Takes everything of one attachment away. @throws ERR_ATTACH_FAILED, ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL */
export async function remove(deps: CniDeps, key: LeaseKey): Promise<void> {
  const lease = deps.leases.get(key)
  const hostLink = lease?.hostLink ?? hostLinkName({ containerId: key.container, ifname: key.ifname })
  const holder = deps.leases.linkHolder(hostLink)
  await deps.portMapper?.remove(key)
  // Called for another network than the one that has the interface, it must not take that one's link.
  if (holder === lease || holder === undefined) await detachContainer(deps.kernel, hostLink)
  await deps.leases.release(key)
}

/** @throws ERR_ATTACH_EXISTS when it is attached; a link without a lease is what a crash left, and goes */
async function clearLeftover(deps: CniDeps, key: LeaseKey, hostLink: string): Promise<void> {
  if ((await deps.kernel.host.link(hostLink)) === undefined) return
  const holder = deps.leases.linkHolder(hostLink)
  if (holder !== undefined) {
    const where = `on network ${holder.network}`
    throw new AppError('ERR_ATTACH_EXISTS', `${key.container} ${key.ifname} is attached ${where}: DEL it first`)
  }
  await detachContainer(deps.kernel, hostLink)
}

interface Wiring {
  readonly lease: Lease
  readonly spec: AttachSpec
  readonly mappings: readonly LeasePortMapping[]
}

async function wire(deps: CniDeps, wiring: Wiring, sandbox: Sandbox): Promise<readonly GatewayRoute[]> {
  const { lease, spec, mappings } = wiring
  try {
    const routes = await attachContainer(deps.kernel, spec, sandbox)
    try {
      if (mappings.length > 0) await deps.portMapper?.add(lease, lease.addresses, mappings)
    } catch (error) {
      await detachContainer(deps.kernel, spec.hostLink)
      throw error
    }
    return routes
  } catch (error) {
    await deps.leases.release(lease).catch((second) => {
      // The lease is given again to a retry of this container, and released by its DEL.
      deps.log.warn({ container: lease.container, error: errorMessage(second) }, 'lease of a failed ADD not released')
    })
    throw error
  }
}

function specOf(lease: Lease, { wholeSubnets, mtuBytes }: NetworkView): AttachSpec {
  const hostMac = interfaceMac('host', { containerId: lease.container, ifname: lease.ifname })
  const { hostLink, ifname, addresses } = lease
  return { hostLink, hostMac, ifname, mac: parseMac(lease.mac), mtuBytes, addresses, wholeSubnets }
}

function resultOf(
  spec: AttachSpec,
  made: { readonly routes: readonly GatewayRoute[]; readonly sandbox: Sandbox; readonly dns: CniResult['dns'] },
): CniResult {
  const { hostLink, hostMac, ifname, mac, mtuBytes, addresses } = spec
  return {
    interfaces: [
      { name: hostLink, mac: hostMac, mtuBytes },
      { name: ifname, mac, mtuBytes, sandbox: made.sandbox.path },
    ],
    ips: addresses.map((address) => ({
      address,
      prefixLength: Number(hostCidr(address).split('/')[1]),
      gateway: gatewayOf(ipFamily(address)),
      interface: 1,
    })),
    routes: made.routes,
    dns: made.dns,
  }
}

function leaseKey(config: NetworkConfig, { containerId, ifname }: Attachment): LeaseKey {
  return { network: config.name, container: containerId, ifname }
}

function networkView(deps: CniDeps, name: string): NetworkView {
  const network = deps.view().networks.get(networkName(name))
  if (network === undefined) {
    throw new AppError(
      'ERR_CNI_TRY_AGAIN',
      `this node knows no network "${name}": create it, or try again when it does`,
    )
  }
  if (network.subnets.length === 0) {
    throw new AppError('ERR_CNI_TRY_AGAIN', `this node has no subnet of network "${name}" yet: try again`)
  }
  return network
}

function networkName(name: string): NetworkName {
  try {
    return parseNetworkName(name)
  } catch (cause) {
    throw new AppError('ERR_CNI_CONFIG', `key "name": ${errorMessage(cause)}`, { cause })
  }
}

/** Our own IPAM is the only one so far. */
function refuseForeignIpam({ raw }: NetworkConfig): void {
  const type = stringField(objectField(raw, 'ipam') ?? {}, 'type') ?? ''
  if (type === '' || type === 'weft-ipam') return
  throw new AppError('ERR_CNI_FIELD', `key "ipam.type": "${type.slice(0, 80)}" is not supported; leave "ipam" out`)
}
