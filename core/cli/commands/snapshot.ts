import { type ClusterSnapshot } from '../../model/snapshot.ts'
import { type Api, isRecord } from '../api.ts'

/** The JSON of `/weft/v1/snapshot` has lists where the model has maps. The master made it: its entities are trusted. */
export async function readSnapshot(api: Api): Promise<ClusterSnapshot> {
  const body = await api.get('/weft/v1/snapshot')
  const lists = isRecord(body) ? body : {}
  const byKey = (list: string, key: (entity: Record<string, unknown>) => string) =>
    new Map((Array.isArray(lists[list]) ? lists[list].filter(isRecord) : []).map((entity) => [key(entity), entity]))
  const snapshot: unknown = {
    version: lists['version'],
    networks: byKey('networks', ({ name }) => String(name)),
    nodes: byKey('nodes', ({ name }) => String(name)),
    tasks: byKey('tasks', ({ id }) => String(id)),
    vips: byKey('vips', ({ name, framework }) => `${name}.${framework}`),
    policies: byKey('policies', ({ name }) => String(name)),
  }
  return snapshot as ClusterSnapshot
}
