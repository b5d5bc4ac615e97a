import { type JsonObject, objectField, objectsField } from '../../cni-plugins/cni/json.ts'
import { formatCniResult } from '../../cni-plugins/cni/result-format.ts'
import { parseCniResult } from '../../cni-plugins/cni/result-parse.ts'
import { cidrContains, cidrNth, cidrParts } from '../../core/base/cidr.ts'
import { type Cidr, type Ip } from '../../core/base/ip.ts'
import { attachedAlready } from './cni-add.ts'
import { type CniDeps, leaseKey, networkView, type RequestOf } from './cni-deps.ts'

/**
 * ADD of our IPAM alone, for another plugin's interface: an address of each of the node's subnets, with the subnet's
 * length and its first address, which is the node's, as gateway. Like host-local, it answers the routes of `ipam.routes`
 * and no others. The answer has neither `interfaces` nor `ips[].interface` (CNI SPEC.md, section "Delegated plugins").
 * @throws ERR_CNI_TRY_AGAIN, ERR_ATTACH_EXISTS when it has an address already, ERR_IPAM_*, ERR_CNI_DECODE
 */
export async function addAddresses(deps: CniDeps, request: RequestOf<'ADD'>): Promise<JsonObject> {
  const { config, attachment, wishes } = request
  const { subnets } = networkView(deps, config.name)
  const routes = objectsField(objectField(config.raw, 'ipam') ?? {}, 'routes')
  const answered = parseCniResult({ cniVersion: '1.1.0', routes })
  const key = leaseKey(config, attachment)
  if (deps.leases.get(key) !== undefined) throw attachedAlready(key, key.network)
  const { ips: wanted, ranges, aliases } = wishes
  const lease = await deps.leases.allocate({ ...key, subnets, wanted, ranges, aliases, mac: '', hostLink: '' })
  const ips = lease.addresses.map((address) => ({ address, ...placeIn(subnets, address) }))
  const result = { interfaces: [], ips, routes: answered.routes, dns: deps.view().dns }
  const { interfaces: _none, ...answer } = formatCniResult(result, config.cniVersion)
  return answer
}

function placeIn(subnets: readonly Cidr[], address: Ip): { readonly prefixLength: number; readonly gateway?: Ip } {
  const subnet = subnets.find((candidate) => cidrContains(candidate, address))
  if (subnet === undefined) return { prefixLength: 32 }
  return { prefixLength: cidrParts(subnet).length, gateway: cidrNth(subnet, 1n) }
}
