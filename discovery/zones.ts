import { labelsOf, nameOfLabels } from './dns/name.ts'
import { directoryDomain, type NamesConfig, spartanDomain } from './records/config.ts'
import { nameServerName } from './records/generate.ts'
import { openZoneStore, type ZoneAuthority, type ZoneStore } from './server/zone-store.ts'

/** Empty zones of a cluster with these names. All that are surely ours answer SERVFAIL until the first change. */
export function openNamesZones(config: NamesConfig): ZoneStore {
  return openZoneStore({
    expected: [config.domain, directoryDomain, spartanDomain],
    ttlSeconds: config.ttlSeconds,
    authority: authorityOf(config),
  })
}

/** Mesos-DNS's names have their own name server name; all others share one. */
function authorityOf(config: NamesConfig): ZoneAuthority {
  const domain = labelsOf(config.domain)
  return {
    mname: (apex: string) => (apex === config.domain ? nameOfLabels(['ns1', ...domain]) : nameServerName),
    rname: (apex: string) =>
      apex === config.domain
        ? nameOfLabels(['root', 'ns1', ...domain])
        : nameOfLabels(['root', ...labelsOf(nameServerName)]),
    negativeTtlSeconds: config.negativeTtlSeconds,
  }
}
