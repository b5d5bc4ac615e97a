import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { type ServicesApi } from '../services.ts'

/** The version of Marathon whose API this is. */
const apiVersion = '1.11.0'

/** /v2/info, /v2/leader. */
export function infoRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/leader', () => ({ leader: api.cluster.leader() }))
  app.delete('/v2/leader', async (_request, reply) => {
    const { abdicate } = api.cluster
    if (abdicate === undefined) throw new AppError('ERR_SERVICES_REQUEST', 'this scheduler cannot give up its office')
    await reply.send({ message: 'Leadership abdicated' })
    abdicate()
  })
  app.get('/v2/info', () => ({
    name: 'marathon',
    version: apiVersion,
    elected: true,
    leader: api.cluster.leader(),
    frameworkId: api.frameworkId() ?? null,
    buildref: 'weft',
    event_subscriber: null,
    http_config: { http_port: Number(api.cluster.leader().split(':').at(-1)), https_port: null },
    marathon_config: {
      ...{ framework_name: 'marathon', ha: true, mesos_role: '*', mesos_user: 'root', checkpoint: true },
      ...{ failover_timeout: 604_800, hostname: api.cluster.hostname, features: ['secrets'] },
      task_launch_timeout: 300_000,
    },
    weft: { snapshotVersion: api.cluster.version() },
  }))
}
