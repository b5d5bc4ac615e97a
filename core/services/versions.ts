import { type Store } from '../store/store.ts'
import { type AppDefinition } from './app.ts'
import { type GroupVersion } from './group.ts'
import { type AppId, type GroupId } from './ids.ts'
import { groupVersionKey, parseGroupVersion, parseStoredDefinition, versionKey } from './records.ts'

/** Former definitions, read from the store when they are asked for. */
export interface Versions {
  app(id: AppId, version: number): Promise<AppDefinition | undefined>
  group(id: GroupId, version: number): Promise<GroupVersion | undefined>
}

/** Reads them from `store`. */
export function openVersions(store: Pick<Store, 'get'>): Versions {
  return {
    app: async (id, version) => {
      const key = versionKey(id, version)
      const stored = await store.get(key)
      return stored === undefined ? undefined : parseStoredDefinition(key, stored.value)
    },
    group: async (id, version) => {
      const key = groupVersionKey(id, version)
      const stored = await store.get(key)
      return stored === undefined ? undefined : parseGroupVersion(key, stored.value)
    },
  }
}
