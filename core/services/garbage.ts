import { type Store, type StoreWrite } from '../store/store.ts'
import { type AppId, ancestorsOf, type GroupId, parseAppId } from './ids.ts'
import { groupVersionPrefix, parseGroupVersion, versionPrefix } from './records.ts'
import { type Change, type World } from './world.ts'

/** Keys of former definitions that a turn's changes may have made useless: those of an app, or below a group. */
export function garbagePrefixes(changes: readonly Change[], world: Pick<World, 'group'>): readonly string[] {
  const prefixes = changes.flatMap((change) => {
    if (change.kind === 'app.remove') {
      return ancestorsOf(change.id).some((group) => world.group(group) !== undefined) ? [versionPrefix(change.id)] : []
    }
    if (change.kind === 'group.remove' || change.kind === 'group-version.remove')
      return [versionPrefix(change.id, 'below')]
    return []
  })
  return [...new Set(prefixes)]
}

/**
 * Deletes of former definitions that nothing can go back to: the app is gone, and no kept version of a group that held it
 * has them.
 */
export async function garbageWrites(
  store: Pick<Store, 'list'>,
  world: Pick<World, 'app'>,
  prefixes: readonly string[],
): Promise<readonly StoreWrite[]> {
  const referenced = new Map<GroupId, Promise<ReadonlySet<string>>>()
  const referencesOf = (group: GroupId): Promise<ReadonlySet<string>> => {
    const known = referenced.get(group) ?? readReferences(store, group)
    referenced.set(group, known)
    return known
  }
  const writes: StoreWrite[] = []
  for (const prefix of prefixes) {
    for (const key of (await store.list(prefix)).keys()) {
      const { id, version } = parseVersionKey(key)
      if (world.app(id) !== undefined) continue
      const all = await Promise.all(ancestorsOf(id).map(referencesOf))
      if (!all.some((references) => references.has(`${id}@${version}`))) writes.push({ key, value: undefined })
    }
  }
  return writes
}

function parseVersionKey(key: string): { readonly id: AppId; readonly version: string } {
  const path = key.slice(key.indexOf('/'))
  const at = path.lastIndexOf('@')
  return { id: parseAppId(path.slice(0, at)), version: path.slice(at + 1) }
}

async function readReferences(store: Pick<Store, 'list'>, group: GroupId): Promise<ReadonlySet<string>> {
  const kept = await store.list(groupVersionPrefix(group))
  const states = [...kept].map(([key, { value }]) => parseGroupVersion(key, value))
  return new Set(states.flatMap(({ apps }) => Object.entries(apps).map(([app, version]) => `${app}@${version}`)))
}
