import { type Logger } from '../core/base/log.ts'
import { formatType } from './dns/presentation.ts'
import { taskHash } from './dns/task-hash.ts'
import { emptyCluster, type NamedCluster, type RecordChange } from './records/cluster.ts'
import { type Collision, findCollisions } from './records/collisions.ts'
import { type NamesConfig, namesConfig } from './records/config.ts'
import { openRecordIndex, type RecordIndex } from './records/record-index.ts'
import { openServedVips } from './records/served-vips.ts'
import { type ZoneChange } from './records/zone-change.ts'
import { borrowedOwners } from './server/owners.ts'
import { type ZoneReader, type ZoneStore } from './server/zone-store.ts'
import { openNamesZones } from './zones.ts'

/** A name that the audit found wrong, and what was done. */
export interface NameRepair {
  readonly stage: 'names'
  readonly operation: string
}

/** What the names are and where they come from: for those who list and explain them. */
export interface NamesView extends Pick<RecordIndex, 'contributionsOf' | 'contributors'> {
  readonly self: string
  readonly config: NamesConfig
  readonly zones: ZoneReader & Pick<ZoneStore, 'owners' | 'whole'>
  /** What the zones hold the names of, or are about to. */
  cluster(): NamedCluster
  collisions(): readonly Collision[]
}

/**
 * The node pipeline's stage for names. Structurally its `Stage`; a domain imports no other, so the interface is not
 * named here.
 */
export interface NamesStage {
  readonly name: 'names'
  /** What the DNS server answers from. */
  readonly zones: NamesView['zones']
  readonly view: NamesView
  plan(change: RecordChange): {
    add(options: { readonly signal: AbortSignal }): Promise<void>
    remove(options: { readonly signal: AbortSignal }): Promise<void>
  }
  audit(snapshot: NamedCluster, options: { readonly signal: AbortSignal }): Promise<readonly NameRepair[]>
}

/**
 * Opens the stage. Until the first change was added, its zones answer SERVFAIL: a node that knows nothing yet must not
 * say that a name does not exist.
 */
export function openNamesStage(options: {
  readonly self: string
  readonly config?: Partial<NamesConfig>
  /** Gets each change after the zones here did: a server in another thread. The stage's step ends when it has it. */
  readonly publish?: (change: ZoneChange) => void | Promise<void>
  /** Told of names that are not what they were meant to be. */
  readonly log?: Logger
}): NamesStage {
  const { self } = options
  const config = namesConfig(options.config)
  const index = openRecordIndex({ self, config, hash: taskHash })
  const served = openServedVips()
  const zones = openNamesZones(config, borrowedOwners(index.rrsets))
  let cluster = emptyCluster
  let told = ''
  const serve = async (change: ZoneChange) => {
    zones.apply(change)
    await options.publish?.(change)
  }
  const collisions = () => findCollisions(cluster, config)
  const warn = () => {
    const found = collisions()
    const text = JSON.stringify(found)
    if (text !== told && found.length > 0) options.log?.warn({ collisions: found }, 'different tasks share a name')
    told = text
  }
  const { contributionsOf, contributors } = index
  return {
    name: 'names',
    zones,
    view: { self, config, zones, cluster: () => cluster, collisions, contributionsOf, contributors },
    plan: (change) => {
      const narrowed = served.change(change)
      const steps = index.apply(narrowed)
      return {
        add: () => {
          cluster = narrowed.next
          return serve(steps.add())
        },
        remove: () => serve(steps.remove()),
      }
    },
    audit: async (snapshot) => {
      cluster = served.all(snapshot)
      const steps = index.reconcile(cluster)
      const changes = [steps.add(), steps.remove()]
      for (const change of changes) await serve(change)
      warn()
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
