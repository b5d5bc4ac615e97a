import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { type Test } from 'tap'
import { parseCidr } from '../../../core/base/cidr.ts'
import { hasCode } from '../../../core/base/errors.ts'
import { type DataPlane } from '../../../lb/dataplane.ts'
import { openGuard } from '../../../lb/ipvs/guard-apply.ts'
import { openIpvsPlane } from '../../../lb/ipvs/plane.ts'
import { type IpvsSysctl } from '../../../lb/ipvs/settings.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { insideNamespace } from '../../../networking/netlink/namespace.ts'
import { openNative } from '../../../networking/netlink/native.ts'
import { type Nft, type NftNamespace } from '../../../networking/nft/nft.ts'
import { nftTable } from '../../../networking/protocol.ts'
import { makeHost, type TestHost } from '../hosts.ts'
import { nftNamespace } from '../nft-namespace.ts'

/** True where the running kernel has IPVS. */
export function hasIpvs(): boolean {
  try {
    openIpvsTable().close()
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_NETLINK_FAMILY')) return false
    throw error
  }
}

/** True where the running kernel has nftables' tables of family inet: Debian's User Mode Linux has only others. */
export function hasInetTables(): boolean {
  const host = makeHost('probe')
  try {
    host.run('nft', 'add table inet probe; add chain inet probe c { type nat hook output priority 0; }')
    return true
  } catch {
    return false // nft says "Operation not supported", in its own words
  } finally {
    host.remove()
  }
}

/** Kernel settings of a test's host. */
export function hostSysctl({ fd }: NftNamespace): IpvsSysctl {
  const inside = <T>(fn: () => T) => insideNamespace(openNative(), fd, fn)
  return {
    read: (name) =>
      inside(() => {
        try {
          return readFileSync(`/proc/sys/${name}`, 'utf8').trim()
        } catch (error) {
          if (hasCode(error, 'ENOENT')) return undefined
          throw error
        }
      }),
    write: (name, value) => inside(() => writeFileSync(`/proc/sys/${name}`, value)),
  }
}

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
