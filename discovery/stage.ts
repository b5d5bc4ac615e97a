import { type NodeName } from '../core/model/ids.ts'
import { type ClusterSnapshot } from '../core/model/snapshot.ts'
import { labelsOf, nameOfLabels } from './dns/name.ts'
import { formatType } from './dns/presentation.ts'
import { taskHash } from './dns/task-hash.ts'
import { directoryDomain, type NamesConfig, namesConfig, spartanDomain } from './records/config.ts'
import { nameServerName } from './records/generate.ts'
import { openRecordIndex } from './records/record-index.ts'
import { type RecordChange } from './records/wanted.ts'
import { type ZoneChange } from './records/zone-change.ts'
import { openZoneStore, type ZoneReader, type ZoneStore } from './server/zone-store.ts'

/** A name that the audit found wrong, and what was done. */
export interface NameRepair {
  readonly stage: 'names'
  readonly operation: string
}

/**
 * The node pipeline's stage for names. Structurally its `Stage`; a domain imports no other, so the interface is not
 * named here.
 */
export interface NamesStage {
  readonly name: 'names'
  /** What the DNS server answers from. */
  readonly zones: ZoneReader & Pick<ZoneStore, 'owners'>
  plan(change: RecordChange): {
    add(options: { readonly signal: AbortSignal }): Promise<void>
    remove(options: { readonly signal: AbortSignal }): Promise<void>
  }
  audit(snapshot: ClusterSnapshot, options: { readonly signal: AbortSignal }): Promise<readonly NameRepair[]>
}

/**
 * Opens the stage. Until the first change was added, its zones answer SERVFAIL: a node that knows nothing yet must not
 * say that a name does not exist.
 */
export function openNamesStage(options: {
  readonly self: NodeName
  readonly config?: Partial<NamesConfig>
}): NamesStage {
  const config = namesConfig(options.config)
  const index = openRecordIndex({ self: options.self, config, hash: taskHash })
  const zones = openZoneStore({
    expected: [config.domain, directoryDomain, spartanDomain],
    ttlSeconds: config.ttlSeconds,
    authority: authorityOf(config),
  })
  return {
    name: 'names',
    zones,
    plan: (change) => {
      const steps = index.apply(change)
      return {
        add: async () => zones.apply(steps.add()),
        remove: async () => zones.apply(steps.remove()),
      }
    },
    audit: async (snapshot) => {
      const steps = index.reconcile(snapshot)
      const changes = [steps.add(), steps.remove()]
      for (const change of changes) zones.apply(change)
      return changes.flatMap(formatRepairs)
    },
  }
}

/** Mesos-DNS's names have their own name server name; all others share one. */
function authorityOf(config: NamesConfig) {
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

function formatRepairs({ owners, apexes }: ZoneChange): readonly NameRepair[] {
  const operations = [
    ...apexes.added.map((apex) => `zone ${apex} added`),
    ...apexes.removed.map((apex) => `zone ${apex} removed`),
    ...owners.map(({ owner, rrsets }) => {
      const types = rrsets.map(({ code, data }) => `${formatType(code)}×${data.length}`)
      return types.length === 0 ? `name ${owner} removed` : `name ${owner} set to ${types.join(' ')}`
    }),
  ]
  return operations.map((operation) => ({ stage: 'names', operation }))
}
