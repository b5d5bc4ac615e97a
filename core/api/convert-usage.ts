import { parseNetworkName } from '../model/ids.ts'
import { parseCidr } from '../base/cidr.ts'
import { type SubnetUsage } from '../model/usage.ts'
import { type LeaseUsage as LeaseUsageProto } from './gen/cluster.ts'
import { parsed } from './parse.ts'

/** What a node daemon counted, as it travels. */
export function encodeUsage(usage: readonly SubnetUsage[]): LeaseUsageProto {
  return { subnets: usage.map((subnet) => ({ ...subnet })) }
}

/** @throws ERR_API_INVALID */
export function decodeUsage({ subnets }: LeaseUsageProto): readonly SubnetUsage[] {
  return subnets.map(({ network, subnet, used, resting, free }) => ({
    network: parsed(network, parseNetworkName, 'usage.network'),
    subnet: parsed(subnet, parseCidr, 'usage.subnet'),
    ...{ used, resting, free },
  }))
}
