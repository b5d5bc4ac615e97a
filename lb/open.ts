import { AppError, hasCode } from '../core/base/errors.ts'
import { type Cidr } from '../core/base/ip.ts'
import { type NetnsTarget } from '../networking/netlink/namespace.ts'
import { type Nft } from '../networking/nft/nft.ts'
import { type Conntrack, type DataPlane } from './dataplane.ts'
import { openGuard } from './ipvs/guard-apply.ts'
import { type IpvsTable } from './ipvs/ops.ts'
import { openIpvsPlane } from './ipvs/plane.ts'
import { type IpvsSysctl } from './ipvs/settings.ts'
import { sweepingIpvs } from './ipvs/sweep.ts'
import { openIpvsTable } from './ipvs/table.ts'
import { openNftablesPlane } from './nftables/plane.ts'
import { type VipPing } from './refuse.ts'

/** Which data plane: `auto` is IPVS where the kernel has it, else nftables. */
export const dataPlaneModes = ['auto', 'ipvs', 'nftables'] as const

/** One of {@link dataPlaneModes}. */
export type DataPlaneMode = (typeof dataPlaneModes)[number]

/** What either data plane works with. */
export interface OpenDataPlaneOptions {
  readonly mode: DataPlaneMode
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
  readonly conntrack?: Conntrack
  /** Absent: VIPs answer. */
  readonly ping?: VipPing
  readonly sysctl: IpvsSysctl
  /** `uname -r` */
  readonly kernelRelease: string
  /** Prefixes in which every IPVS service is Weft's; VIPs that Weft programmed are known without them. */
  readonly vipRanges?: readonly Cidr[]
  readonly onForeign?: (entries: readonly string[]) => void
  /** Reads the node's /proc/net/ip_vs, to notice what others change. */
  readonly glance?: () => string
  /** Absent: the thread's own namespace. */
  readonly netns?: NetnsTarget
}

/**
 * The node's data plane. What the other one left in the kernel goes with the first repair, after this one answers.
 * @throws ERR_LB_NO_IPVS when `ipvs` is asked for and the kernel lacks it
 */
export function openDataPlane(options: OpenDataPlaneOptions): DataPlane {
  const { mode, nft, table: nftTable, conntrack, ping = 'answer', vipRanges: ranges = [], onForeign } = options
  const table = tryIpvs(options.netns)
  if (table === undefined || mode === 'nftables') {
    if (mode === 'ipvs') throw new AppError('ERR_LB_NO_IPVS', 'this kernel has no IPVS: load ip_vs, or use nftables')
    const plane = openNftablesPlane({ nft, table: nftTable, ping, ...(conntrack === undefined ? {} : { conntrack }) })
    return table === undefined ? plane : sweepingIpvs(plane, { table, nft, nftTable, ranges })
  }
  const { sysctl, kernelRelease, glance } = options
  const guard = openGuard({ nft, table: nftTable, ping })
  const told = { ...(onForeign && { onForeign }), ...(glance && { glance }) }
  return openIpvsPlane({ table, sysctl, kernelRelease, ranges, guard, ...told })
}

function tryIpvs(netns: NetnsTarget | undefined): IpvsTable | undefined {
  try {
    return openIpvsTable(netns === undefined ? {} : { netns })
  } catch (error) {
    if (hasCode(error, 'ERR_NETLINK_FAMILY')) return undefined
    throw error
  }
}
