import { labelsOf, nameOfLabels } from './dns/name.ts'
import { directoryDomain, type NamesConfig, spartanDomain } from './records/config.ts'
import { nameServerName } from './records/generate.ts'
import { renamesOf } from './records/renames.ts'
import { type OwnerTable } from './server/owners.ts'
import { openZoneStore, type ZoneAuthority, type ZoneStore } from './server/zone-store.ts'

/**
 * Empty zones of a cluster with these names. All that are surely ours answer SERVFAIL until the first change. `owners`: where
 * the records are; absent: in the zones.
 */
export function openNamesZones(config: NamesConfig, owners?: OwnerTable): ZoneStore {
  return openZoneStore({
    ...(owners === undefined ? {} : { owners }),
    expected: config.content === 'all' ? [config.domain, directoryDomain, spartanDomain] : [config.domain],
    ttlSeconds: config.ttlSeconds,
    authority: authorityOf(config),
    renames: renamesOf(config),
  })
}

/** Mesos-DNS's names have their own name server name; all others share one. */
function authorityOf(config: NamesConfig): ZoneAuthority {
  const domain = labelsOf(config.domain)
  const own = config.soa ?? { mname: nameOfLabels(['ns1', ...domain]), rname: nameOfLabels(['root', 'ns1', ...domain]) }
  const shared = { mname: nameServerName, rname: nameOfLabels(['root', ...labelsOf(nameServerName)]) }
  const of = (apex: string) => (apex === config.domain ? own : shared)
  return {
    mname: (apex: string) => of(apex).mname,
    rname: (apex: string) => of(apex).rname,
    negativeTtlSeconds: config.negativeTtlSeconds,
    ...(config.soa === undefined ? {} : { times: config.soa }),
  }
}
