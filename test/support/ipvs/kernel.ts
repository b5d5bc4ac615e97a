// Apart from plane.ts, because benchmarks need this and must not load tap.
import { readFileSync, writeFileSync } from 'node:fs'
import { hasCode } from '../../../core/base/errors.ts'
import { type IpvsSysctl } from '../../../lb/ipvs/settings.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { insideNamespace } from '../../../networking/netlink/namespace.ts'
import { openNative } from '../../../networking/netlink/native.ts'
import { type NftNamespace } from '../../../networking/nft/nft.ts'
import { makeHost } from '../hosts.ts'

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
