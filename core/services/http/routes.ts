import { type FastifyInstance } from 'fastify'
import { type ServicesApi } from '../services.ts'
import { appRoutes } from './apps.ts'
import { deploymentRoutes } from './deployments.ts'
import { replyToError } from './errors.ts'
import { eventRoutes } from './events.ts'
import { groupRoutes } from './groups.ts'
import { infoRoutes } from './info.ts'
import { planRoutes } from './plan.ts'
import { podRoutes } from './pods.ts'
import { queueRoutes } from './queue.ts'
import { taskRoutes } from './tasks.ts'

/** A fastify plugin: `app.register(services.routes)`. */
export type RoutesPlugin = (app: FastifyInstance) => Promise<void>

/** Marathon's /v2 and /ping. `signal` ends the event streams. */
export function servicesRoutes(api: ServicesApi, options: { readonly signal: AbortSignal }): RoutesPlugin {
  return async (app) => {
    app.setErrorHandler(replyToError)
    app.get('/ping', (_request, reply) => reply.type('text/plain').send('pong'))
    appRoutes(app, api)
    groupRoutes(app, api)
    deploymentRoutes(app, api)
    taskRoutes(app, api)
    podRoutes(app, api)
    infoRoutes(app, api)
    planRoutes(app, api)
    queueRoutes(app, api)
    eventRoutes(app, api, options)
  }
}
