import { type Ip } from '../../core/base/ip.ts'
import { type CounterReader } from '../../lb/counters.ts'
import { type DataPlane } from '../../lb/dataplane.ts'
import { type Bypass } from '../../lb/health/bypass.ts'
import { openIpvsCounters } from '../../lb/ipvs/counters.ts'
import { openNftablesCounters } from '../../lb/nftables/counters.ts'
import { type ConntrackTable } from '../netlink/conntrack.ts'
import { type Sysctl } from '../overlay/sysctl.ts'

/** What the counters of a data plane are read with. */
export interface CountersOptions {
  readonly dataPlane: DataPlane['name']
  readonly conntrack: Pick<ConntrackTable, 'list'>
  readonly bypass: Pick<Bypass, 'servers'>
  readonly sysctl: Sysctl
}

/** Octets and packets of a connection are counted by the kernel where this is 1, for connections that come then. */
const accounting = 'net/netfilter/nf_conntrack_acct'

/** The counters of the data plane that the node has. */
export function openCounters({ dataPlane, conntrack, bypass, sysctl }: CountersOptions): CounterReader {
  if (dataPlane === 'ipvs') return openIpvsCounters()
  if (sysctl.read(accounting) === '0') sysctl.write(accounting, '1')
  const vips = (): ReadonlySet<Ip> => new Set(bypass.servers().map(({ wanted }) => wanted.address))
  return openNftablesCounters({ conntrack, vips })
}
