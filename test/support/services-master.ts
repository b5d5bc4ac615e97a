import Fastify from 'fastify'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { openServices, type Services } from '../../core/services/services.ts'
import { type Store } from '../../core/store/store.ts'
import { type TestMaster } from './master.ts'

/** The services of a master of a test, and its API. */
export interface MasterServices {
  readonly services: Services
  /** Status and body of an answer. */
  send(method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, body?: unknown): Promise<Answer>
  /** Asks until `look` has found something. @throws what it was that did not come, with the last answer */
  ask<Found>(what: string, url: string, look: (body: unknown) => Found | undefined): Promise<Found>
  /** Until no deployment is on its way. */
  deployed(): Promise<void>
  close(): Promise<void>
}

/** An answer of the API. */
export interface Answer {
  readonly status: number
  readonly body: unknown
}

/** Longest wait. */
const patienceMs = 60_000

/** Opens services as a leader does, in the role that DC/OS has for them. */
export async function openMasterServices(master: TestMaster, store: Store): Promise<MasterServices> {
  const { driver, context } = master
  const services = await openServices({
    ...{ driver, store, term: context.term, clock: systemClock, log: silentLog, role: 'slave_public' },
    cluster: {
      hostname: 'master',
      networkNames: () => new Set(context.registrar.state.networks.keys()),
      version: () => context.keeper.version(),
      leader: () => '127.0.0.1:8080',
    },
  })
  const app = Fastify()
  await app.register(services.routes)
  const send: MasterServices['send'] = async (method, url, body) => {
    const json = { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    const response = await app.inject({ method, url, ...(body === undefined ? {} : json) })
    return { status: response.statusCode, body: response.body === '' ? undefined : response.json<unknown>() }
  }
  const ask: MasterServices['ask'] = async (what, url, look) => {
    const deadline = performance.now() + patienceMs
    for (;;) {
      const { body } = await send('GET', url)
      const found = look(body)
      if (found !== undefined) return found
      if (performance.now() > deadline) throw new Error(`${what} did not come: ${JSON.stringify(body)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return {
    ...{ services, send, ask },
    deployed: () =>
      ask('the end', '/v2/deployments', (body) => (Array.isArray(body) && body.length > 0 ? undefined : true)).then(
        () => undefined,
      ),
    close: async () => {
      await services.close()
      await app.close()
    },
  }
}

/** The tasks of an app as the API has them. */
export function tasksIn(body: unknown): readonly Readonly<Record<string, unknown>>[] {
  const tasks: unknown = Reflect.get(Object(body), 'tasks')
  return Array.isArray(tasks) ? tasks.map((task: unknown) => ({ ...Object(task) })) : []
}
