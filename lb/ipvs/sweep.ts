import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { type Nft } from '../../networking/nft/nft.ts'
import { type DataPlane } from '../dataplane.ts'
import { formatIpvsOp } from './format.ts'
import { guardSet } from './guard.ts'
import { type IpvsEntry, type IpvsOp, type IpvsTable } from './ops.ts'

/** What a sweep works with. */
export interface SweepOptions {
  readonly table: IpvsTable
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly nftTable: string
  readonly ranges: readonly Cidr[]
}

/**
 * `plane`, which with each repair takes out what the IPVS data plane left in the kernel, after its own work: new connections
 * are led by `plane` by then. A service that still has connections keeps them, with weight 0, until a later repair; when
 * nothing is left `table` is closed.
 */
export function sweepingIpvs(plane: DataPlane, options: SweepOptions): DataPlane {
  const { table } = options
  const owned = new Set<Ip>()
  let swept = false
  const isOurs = (address: Ip) => owned.has(address) || options.ranges.some((range) => cidrContains(range, address))
  const sweep = async (signal: AbortSignal) => {
    const ours = table.read().entries.filter(({ service }) => isOurs(service.address))
    const ops = ours.flatMap(planSweep)
    await table.perform(ops, { signal })
    swept = ours.every(isIdle)
    if (swept) table.close()
    return ops.map(formatIpvsOp)
  }
  return {
    ...plane,
    repair: async (servers, { signal }) => {
      if (swept) return plane.repair(servers, { signal })
      for (const address of await ownedAddresses(options, signal)) owned.add(address)
      for (const { address } of servers) owned.add(address)
      const repaired = await plane.repair(servers, { signal })
      return [...repaired, ...(await sweep(signal))]
    },
    close: () => {
      if (!swept) table.close()
      plane.close()
    },
  }
}

function isIdle({ destinations }: IpvsEntry): boolean {
  return destinations.every(({ connections = 0 }) => connections === 0)
}

function planSweep(entry: IpvsEntry): readonly IpvsOp[] {
  const { service, destinations } = entry
  if (isIdle(entry)) return [{ kind: 'service.del', service }]
  const serving = destinations.filter(({ weight }) => weight > 0)
  return serving.map((one) => ({ kind: 'destination.set', service, destination: { ...one, weight: 0 } }))
}

/** The addresses that the last data plane wrote down as VIPs: both write them to the same sets. */
async function ownedAddresses({ nft, nftTable }: SweepOptions, signal: AbortSignal): Promise<Set<Ip>> {
  const found = await nft.readTable(nftTable, { signal })
  const sets = ([4, 6] as const).map((family) => found?.sets.get(guardSet('address', family))?.elements.keys())
  return new Set(sets.flatMap((keys) => [...(keys ?? [])].map(parseIp)))
}
