import { type Stage } from '../node/stage.ts'
import { type Portmap } from './port-mapper.ts'

/** Port mappings come and go with containers, not with snapshots: only the audit has something to do. */
export function openPortmapStage(portmap: Pick<Portmap, 'repair'>): Stage {
  const nothing = async () => undefined
  return {
    name: 'portmap',
    plan: () => ({ add: nothing, remove: nothing }),
    audit: async (_snapshot, options) =>
      (await portmap.repair(options)).map((operation) => ({ stage: 'portmap', operation })),
  }
}
