import { type FastifyInstance } from 'fastify'
import { noOffersOf } from './queue.ts'
import { readFlag } from './request.ts'
import { deploymentBody, withDeployment } from './reply.ts'
import { deploymentJson } from '../present-deployment.ts'
import { abandonDeployment, rollBackDeployment } from '../rollback.ts'
import { type ServicesApi } from '../services.ts'
import { waitingFor } from '../waiting.ts'

/** Reasons of one deployment that are told; more help nobody. */
const maxReasons = 100

/** Requests to one deployment. */
interface One {
  readonly Params: { readonly id: string }
}

/** /v2/deployments. */
export function deploymentRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/deployments', () => [...api.world.deployments()].map((id) => oneDeployment(api, id)))
  app.delete<One>('/v2/deployments/:id', async (request, reply) => {
    const { id } = request.params
    if (readFlag(request.query, 'force') === 'true') {
      await api.submit((context) => ({ reply: undefined, apps: abandonDeployment(context, id) }))
      api.hub.emit('deployment_failed', { id, reason: 'given up by request' })
      return reply.code(202).send()
    }
    const deployed = await api.deploy((context) => rollBackDeployment(context, id))
    return withDeployment(reply, deployed).send(deploymentBody(deployed))
  })
}

function oneDeployment(api: ServicesApi, id: string): unknown {
  const { world, facts, clock, missing } = api
  const known = [...world.members(id).apps].flatMap((app) => facts(app) ?? [])
  const context = { view: world, nowMs: clock.monotonicMs(), missing, noOffers: noOffersOf(api) }
  const reasons = known.flatMap((app) => waitingFor(app, context))
  const records = known.map(({ record }) => record)
  return deploymentJson(id, { records, waitingFor: reasons.slice(0, maxReasons) })
}
