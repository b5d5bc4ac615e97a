import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { type JobsApi } from '../jobs.ts'
import { replyToError } from './errors.ts'
import { infoRoutes } from './info.ts'
import { jobRoutes } from './jobs.ts'
import { oldRoutes } from './old.ts'
import { runRoutes } from './runs.ts'

/** A fastify plugin: `app.register(jobs.routes)`. */
export type RoutesPlugin = (app: FastifyInstance) => Promise<void>

/** Where Metronome is behind the central proxy of DC/OS: /ping and what else others have at the root is here only. */
const proxyPrefix = '/service/metronome'

/** Metronome's /v1/jobs, /v0/scheduled-jobs and /v1/queue, at the root and below `/service/metronome`. */
export function jobsRoutes(api: JobsApi): RoutesPlugin {
  const at = async (app: FastifyInstance) => {
    app.setErrorHandler(replyToError)
    allowEmptyBodies(app)
    jobRoutes(app, api)
    runRoutes(app, api)
    oldRoutes(app, api)
    infoRoutes(app, api)
  }
  return async (app) => {
    await app.register(at)
    await app.register(
      async (below) => {
        below.get('/ping', (_request, reply) => reply.type('text/plain').send('pong'))
        await below.register(at)
      },
      { prefix: proxyPrefix },
    )
  }
}

/** Clients start a run by a POST that says JSON and has nothing in it. */
function allowEmptyBodies(app: FastifyInstance): void {
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    if (text === '') return done(null, undefined)
    try {
      done(null, JSON.parse(String(text)))
    } catch (cause) {
      done(new AppError('ERR_JOBS_REQUEST', `the body is not JSON: ${String(cause)}`, { cause }))
    }
  })
}
