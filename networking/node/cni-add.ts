import { type JsonObject, objectField } from '../../cni-plugins/cni/json.ts'
import { type CniDns, type CniResult, mergeCniResults } from '../../cni-plugins/cni/result.ts'
import { formatCniResult } from '../../cni-plugins/cni/result-format.ts'
import { parseCniResult } from '../../cni-plugins/cni/result-parse.ts'
import { AppError } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { parseMac } from '../../core/model/ids.ts'
import { attachContainer, detachContainer } from '../attach/attach.ts'
import { hostLinkName, interfaceMac } from '../attach/names.ts'
import { type AttachSpec, familiesOf, type GatewayRoute, gatewayOf, hostCidr } from '../attach/plan.ts'
import { openSandbox, type Sandbox } from '../attach/sandbox.ts'
import { type Lease, type LeaseKey } from '../ipam/lease.ts'
import { type BegunLease } from '../ipam/leases.ts'
import { dnsAddress6 } from '../protocol.ts'
import { askDelegate, delegatedCall, findDelegate } from './cni-delegate.ts'
import { type CniDeps, foreignIpam, leaseKey, networkView, type RequestOf } from './cni-deps.ts'
import { type CniCall } from './cni-frame.ts'
import { undoAdd } from './cni-remove.ts'
import { type NetworkView } from './cni-view.ts'

/**
 * ADD: lease, then wiring. The lease, in the journal first, says `making` until all is done, so that what a crash leaves
 * is undone at the next start; a step that fails undoes the ones before, so that a retry works.
 * @throws ERR_CNI_TRY_AGAIN when the node has no part of the network yet; ERR_IPAM_*, ERR_ATTACH_*, ERR_CNI_*
 */
export async function addContainer(deps: CniDeps, request: RequestOf<'ADD'>, call: CniCall): Promise<JsonObject> {
  const { config, netns } = request
  const network = networkView(deps, config.name)
  const foreign = foreignIpam(config)
  const delegate = foreign === undefined ? undefined : delegatedCall(foreign, call)
  if (delegate !== undefined) await findDelegate(deps, delegate)
  const dns = configuredDns(request)
  const sandbox = openSandbox(netns, deps.kernel.forbidden)
  try {
    const parts = partsOf(request)
    await clearLeftover(deps, parts)
    try {
      const leased: LeasedPlace =
        delegate === undefined
          ? deps.leases.begin({ ...parts, ...placeOf(request, network), state: 'making' })
          : await leaseForeign(deps, { ...parts, delegate, addresses: [], state: 'making' }, request)
      // The disk works while the kernel does; the answer waits for both.
      const made = await wire(deps, { lease: leased.lease, network, sandbox })
      await leased.durable
      await deps.leases.mark(leased.lease, 'whole')
      const own = resultOf(made.spec, {
        routes: made.routes,
        sandbox,
        dns: dns ?? leased.dns ?? reachableDns(deps.view().dns, made.spec),
      })
      const result = request.prevResult === undefined ? own : mergeCniResults(request.prevResult, own)
      return formatCniResult(result, config.cniVersion)
    } catch (error) {
      await undoAdd(deps, parts)
      throw error
    }
  } finally {
    sandbox.close()
  }
}

type LeaseParts = Omit<Lease, 'bootId' | 'addresses'>

function partsOf({ config, attachment, wishes }: RequestOf<'ADD'>): LeaseParts {
  const { portMappings, bandwidth, aliases } = wishes
  return {
    ...leaseKey(config, attachment),
    mac: wishes.mac ?? interfaceMac('container', attachment),
    hostLink: hostLinkName(attachment),
    ...(portMappings.length === 0 ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(aliases.length === 0 ? {} : { aliases }),
  }
}

function placeOf({ wishes }: RequestOf<'ADD'>, { subnets }: NetworkView) {
  return { subnets, wanted: wishes.ips, ranges: wishes.ranges }
}

interface LeasedPlace extends BegunLease {
  /** Of the other plugin, when it says some. */
  readonly dns?: CniDns
}

/** The intent is durable before the other plugin is asked: its address comes back whatever happens to this process. */
async function leaseForeign(
  deps: CniDeps,
  intent: Omit<Lease, 'bootId'> & Required<Pick<Lease, 'delegate'>>,
  { config }: RequestOf<'ADD'>,
): Promise<LeasedPlace> {
  await deps.leases.adopt(intent)
  const { ips, dns } = await askDelegate(deps, intent.delegate, config.cniVersion)
  const lease = await deps.leases.adopt({ ...intent, addresses: [...new Set(ips.map(({ address }) => address))] })
  return { lease, durable: Promise.resolve(), ...(dns.nameservers.length === 0 ? {} : { dns }) }
}

/**
 * @throws ERR_ATTACH_EXISTS when it is attached; a link without a lease, or of an ADD that a crash ended, goes
 */
async function clearLeftover(deps: CniDeps, parts: LeaseParts): Promise<void> {
  const own = deps.leases.get(parts)
  if (own !== undefined && own.hostLink === '') throw attachedAlready(parts, parts.network)
  if (own?.state !== undefined) await undoAdd(deps, own)
  if ((await deps.kernel.host.link(parts.hostLink)) === undefined) return
  const holder = deps.leases.linkHolder(parts.hostLink)
  if (holder !== undefined) throw attachedAlready(parts, holder.network)
  await detachContainer(deps.kernel, parts.hostLink)
}

/** The answer to a second ADD. */
export function attachedAlready({ container, ifname }: LeaseKey, network: string): AppError {
  return new AppError('ERR_ATTACH_EXISTS', `${container} ${ifname} is attached on network ${network}: DEL it first`)
}

interface Wiring {
  readonly lease: Lease
  readonly network: NetworkView
  readonly sandbox: Sandbox
}

async function wire(deps: CniDeps, { lease, network, sandbox }: Wiring) {
  const spec = specOf(lease, network)
  await deps.antispoof?.bind(lease)
  const routes = await attachContainer(deps.kernel, spec, sandbox)
  const { bandwidth, portMappings = [] } = lease
  if (bandwidth !== undefined) await deps.shaper?.apply(lease.hostLink, bandwidth)
  if (portMappings.length > 0) await deps.portMapper?.add(lease, lease.addresses, portMappings)
  return { spec, routes }
}

function specOf(lease: Lease, { wholeSubnets, mtuBytes }: NetworkView): AttachSpec {
  const hostMac = interfaceMac('host', { containerId: lease.container, ifname: lease.ifname })
  const { hostLink, ifname, addresses } = lease
  return { hostLink, hostMac, ifname, mac: parseMac(lease.mac), mtuBytes, addresses, wholeSubnets }
}

/** The node's server, at an address that the container has a way to. */
function reachableDns(dns: CniDns, spec: AttachSpec): CniDns {
  return familiesOf(spec).includes(4) ? dns : { ...dns, nameservers: [dnsAddress6] }
}

/** Capability `dns`, else the configuration's own key; what one leaves out is taken from neither. */
function configuredDns({ config, wishes }: RequestOf<'ADD'>): CniDns | undefined {
  if (wishes.dns !== undefined && wishes.dns.nameservers.length > 0) return wishes.dns
  const dns = objectField(config.raw, 'dns')
  if (dns === undefined) return undefined
  const parsed = parseCniResult({ cniVersion: config.cniVersion, dns }).dns
  return parsed.nameservers.length === 0 ? undefined : parsed
}

function resultOf(
  spec: AttachSpec,
  made: { readonly routes: readonly GatewayRoute[]; readonly sandbox: Sandbox; readonly dns: CniDns },
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
