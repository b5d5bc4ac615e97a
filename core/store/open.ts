import { join } from 'node:path'
import { AppError } from '../base/errors.ts'
import { type Store } from './store.ts'

/**
 * Opens the store that `url` names: nothing or `sqlite:PATH` for a single master, `redis://`, `rediss://` or `zk://` for
 * several. An adapter and its client library are loaded only here, when they are used.
 * @throws ERR_STORE_URL, and what the adapters throw: ERR_STORE_UNAVAILABLE, ERR_STORE_DURABILITY, ERR_STORE_LOCKED, …
 */
export async function openStore(url: string | undefined, { stateDir }: { readonly stateDir: string }): Promise<Store> {
  const scheme = url === undefined || url === '' ? 'sqlite:' : url.slice(0, url.indexOf(':') + 1)
  switch (scheme) {
    case 'sqlite:': {
      const { openSqliteStore } = await import('./sqlite.ts')
      return openSqliteStore((url ?? '').slice(scheme.length) || join(stateDir, 'master.db'))
    }
    case 'redis:':
    case 'rediss:': {
      const { openRedisStore } = await import('./redis.ts')
      return openRedisStore(url ?? '')
    }
    case 'zk:': {
      const { openZooKeeperStore } = await import('./zookeeper.ts')
      return openZooKeeperStore(url ?? '')
    }
    default:
      throw new AppError(
        'ERR_STORE_URL',
        `"${scheme}" is no store: sqlite:PATH, redis://…, rediss://… or zk://… expected`,
      )
  }
}

/** True when several masters can share that store. */
export function isShared(url: string | undefined): boolean {
  return /^(rediss?|zk):/.test(url ?? '')
}
