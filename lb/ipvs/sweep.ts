import { cidrContains } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { type Nft } from '../../networking/nft/nft.ts'
import { type DataPlane } from '../dataplane.ts'
import { formatIpvsOp } from './format.ts'
import { guardSet } from './guard.ts'
import { type IpvsOp, type IpvsTable } from './ops.ts'

/** What a sweep works with. */
export interface SweepOptions {
  readonly table: IpvsTable
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly nftTable: string
  readonly ranges: readonly Cidr[]
}

/**
 * `plane`, which after its first repair takes what the IPVS data plane left out of the kernel, and closes `table`: new
 * connections are led by `plane` by then. Connections that IPVS has end: their packets pass what it no longer knows.
 */
export function sweepingIpvs(plane: DataPlane, options: SweepOptions): DataPlane {
  const { table } = options
  let swept = false
  const sweep = async (owned: ReadonlySet<Ip>, signal: AbortSignal) => {
    const ops = table.read().entries.flatMap(({ service }): IpvsOp[] => {
      const isOurs = owned.has(service.address) || options.ranges.some((range) => cidrContains(range, service.address))
      return isOurs ? [{ kind: 'service.del', service }] : []
    })
    await table.perform(ops, { signal })
    swept = true
    table.close()
    return ops.map(formatIpvsOp)
  }
  return {
    ...plane,
    repair: async (servers, { signal }) => {
      if (swept) return plane.repair(servers, { signal })
      const owned = await ownedAddresses(options, signal)
      for (const { address } of servers) owned.add(address)
      const repaired = await plane.repair(servers, { signal })
      return [...repaired, ...(await sweep(owned, signal))]
    },
    close: () => {
      if (!swept) table.close()
      plane.close()
    },
  }
}

/** The addresses that the last data plane wrote down as VIPs: both write them to the same sets. */
async function ownedAddresses({ nft, nftTable }: SweepOptions, signal: AbortSignal): Promise<Set<Ip>> {
  const found = await nft.readTable(nftTable, { signal })
  const sets = ([4, 6] as const).map((family) => found?.sets.get(guardSet('address', family))?.elements.keys())
  return new Set(sets.flatMap((keys) => [...(keys ?? [])].map(parseIp)))
}
