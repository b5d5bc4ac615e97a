import { AppError } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { checkContainer } from '../attach/check.ts'
import { interfaceMac } from '../attach/names.ts'
import { gatewayOf } from '../attach/plan.ts'
import { openSandbox } from '../attach/sandbox.ts'
import { type Lease } from '../ipam/lease.ts'
import { delegatedCall, runDelegate } from './cni-delegate.ts'
import { type CniDeps, foreignIpam, leaseKey, networkView, type PluginRole, type RequestOf } from './cni-deps.ts'
import { type CniCall } from './cni-frame.ts'

/** Who asks, and as what. */
export interface CheckContext {
  readonly call: CniCall
  readonly role: PluginRole
}

/**
 * CHECK.
 * @throws ERR_ATTACH_CHECK naming everything that is wrong; ERR_CNI_CONTAINER when it was never added; ERR_CNI_PLUGIN
 */
export async function checkAttached(
  deps: CniDeps,
  request: RequestOf<'CHECK'>,
  { call, role }: CheckContext,
): Promise<void> {
  const { config, prevResult } = request
  const key = leaseKey(config, request.attachment)
  const lease = deps.leases.get(key)
  if (lease === undefined || lease.state !== undefined || (lease.hostLink === '') !== (role === 'ipam')) {
    throw new AppError('ERR_CNI_CONTAINER', `no lease for ${key.container} ${key.ifname} on ${key.network}: ADD it`)
  }
  const unsaid = lease.addresses.filter((address) => !prevResult.ips.some((ip) => ip.address === address))
  const problems = [
    ...unsaid.map((address) => `the lease has ${address}, which prevResult does not`),
    ...(role === 'ipam' ? [] : await checkInterface(deps, request, lease)),
  ]
  if (problems.length > 0) throw new AppError('ERR_ATTACH_CHECK', problems.join('; '))
  const foreign = role === 'interface' ? foreignIpam(config) : undefined
  if (foreign !== undefined) await runDelegate(deps, delegatedCall(foreign, call), 'CHECK')
}

async function checkInterface(
  deps: CniDeps,
  { attachment, netns, prevResult }: RequestOf<'CHECK'>,
  lease: Lease,
): Promise<readonly string[]> {
  const { hostLink, addresses, ifname } = lease
  const sandbox = openSandbox(netns, deps.kernel.forbidden)
  try {
    const link = prevResult.interfaces.find(({ name, sandbox: path }) => name === ifname && path !== undefined)
    // A later plugin may have changed the Ethernet address: prevResult then says so.
    const mac = parseMac((link?.mac ?? lease.mac).toLowerCase())
    const routes = prevResult.routes.flatMap(({ destination, gateway }) =>
      gateway !== undefined && gateway === gatewayOf(ipFamily(destination)) ? [{ destination, gateway }] : [],
    )
    const spec = { hostLink, hostMac: interfaceMac('host', attachment), ifname, mac, addresses }
    return await checkContainer(deps.kernel, { spec, routes }, sandbox)
  } finally {
    sandbox.close()
  }
}

/**
 * STATUS: would ADD work now?
 * @throws ERR_CNI_UNAVAILABLE (50) when the node has no part of the network; ERR_CNI_LIMITED (51) when no address is free
 */
export async function reportStatus(
  deps: CniDeps,
  { config }: RequestOf<'STATUS'>,
  { call, role }: CheckContext,
): Promise<void> {
  const { subnets } = availableNetwork(deps, config.name)
  const foreign = role === 'interface' ? foreignIpam(config) : undefined
  if (foreign !== undefined) {
    await runDelegate(deps, delegatedCall(foreign, call), 'STATUS')
    return
  }
  for (const subnet of subnets) {
    if (deps.leases.usage(subnet).free > 0n) continue
    throw new AppError('ERR_CNI_LIMITED', `no free address in ${subnet}: stop some container`)
  }
}

function availableNetwork(deps: CniDeps, name: string) {
  try {
    return networkView(deps, name)
  } catch (cause) {
    if (!(cause instanceof AppError) || cause.code !== 'ERR_CNI_TRY_AGAIN') throw cause
    throw new AppError('ERR_CNI_UNAVAILABLE', cause.message)
  }
}
