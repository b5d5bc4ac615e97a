import { release } from 'node:os'
import { type Test } from 'tap'
import { parseCidr } from '../../../core/base/cidr.ts'
import { type DataPlane } from '../../../lb/dataplane.ts'
import { openGuard } from '../../../lb/ipvs/guard-apply.ts'
import { openIpvsPlane } from '../../../lb/ipvs/plane.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { type Nft } from '../../../networking/nft/nft.ts'
import { nftTable } from '../../../networking/protocol.ts'
import { type TestHost } from '../hosts.ts'
import { nftNamespace } from '../nft-namespace.ts'
import { hostSysctl } from './kernel.ts'

/** The IPVS data plane of a test's host, closed with the test. */
export function openHostIpvs(
  t: Test,
  {
    host,
    nft,
    onForeign,
  }: { readonly host: TestHost; readonly nft?: Nft; readonly onForeign?: (entries: readonly string[]) => void },
): DataPlane {
  const plane = openIpvsPlane({
    table: openIpvsTable({ netns: host.path }),
    sysctl: hostSysctl(nftNamespace(host)),
    kernelRelease: release(),
    ranges: [parseCidr('100.96.0.0/16'), parseCidr('fd01:c::/64')],
    ...(nft === undefined ? {} : { guard: openGuard({ nft, table: nftTable }) }),
    ...(onForeign === undefined ? {} : { onForeign }),
  })
  t.teardown(() => plane.close())
  return plane
}
