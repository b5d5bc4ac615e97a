import { type NodeName } from '../core/model/ids.ts'
import { type ClusterSnapshot } from '../core/model/snapshot.ts'
import { formatType } from './dns/presentation.ts'
import { taskHash } from './dns/task-hash.ts'
import { type NamesConfig, namesConfig } from './records/config.ts'
import { openRecordIndex } from './records/record-index.ts'
import { type RecordChange } from './records/wanted.ts'
import { type ZoneChange } from './records/zone-change.ts'
import { type ZoneReader, type ZoneStore } from './server/zone-store.ts'
import { openNamesZones } from './zones.ts'

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
  /** Gets each change after the zones here did: a server in another thread. The stage's step ends when it has it. */
  readonly publish?: (change: ZoneChange) => void | Promise<void>
}): NamesStage {
  const config = namesConfig(options.config)
  const index = openRecordIndex({ self: options.self, config, hash: taskHash })
  const zones = openNamesZones(config)
  const serve = async (change: ZoneChange) => {
    zones.apply(change)
    await options.publish?.(change)
  }
  return {
    name: 'names',
    zones,
    plan: (change) => {
      const steps = index.apply(change)
      return {
        add: () => serve(steps.add()),
        remove: () => serve(steps.remove()),
      }
    },
    audit: async (snapshot) => {
      const steps = index.reconcile(snapshot)
      const changes = [steps.add(), steps.remove()]
      for (const change of changes) await serve(change)
      return changes.flatMap(formatRepairs)
    },
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
