import { randomUUID } from 'node:crypto'
import { fastify } from 'fastify'
import { schedulerRoutes } from '../../core/master/http/scheduler/routes.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { type Store } from '../../core/store/store.ts'
import { startMaster, type TestMaster } from './master.ts'

/** A master with the scheduler API on loopback. */
export interface MesosMaster extends TestMaster {
  readonly store: Store
  readonly url: string
  /** Ends it as a crash does. */
  stop(): Promise<void>
}

/** Starts one. */
export async function startMesosMaster(
  options: { readonly pingIntervalMs?: number; readonly maxQueuedBytes?: number; readonly store?: Store } = {},
): Promise<MesosMaster> {
  const { store = openMemoryStore(), maxQueuedBytes, ...more } = options
  const master = await startMaster(store, more)
  const app = fastify({ forceCloseConnections: true, bodyLimit: 1024 * 1024 })
  const advertised = () => '127.0.0.1:5050'
  const { context, driver } = master
  const limit = maxQueuedBytes === undefined ? {} : { maxQueuedBytes }
  await app.register(schedulerRoutes({ context, driver, version: '1.2.3', advertised, newId: randomUUID, ...limit }))
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const stop = async () => {
    await app.close()
    await master.crash()
  }
  return { ...master, store, url: `${address}/api/v1/scheduler`, stop }
}
