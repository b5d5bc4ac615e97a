import { type FastifyInstance } from 'fastify'
import { z } from 'zod'
import { parseNetworkName } from '../../model/ids.ts'
import { comparePolicies } from '../../model/policy.ts'
import { type MasterContext } from '../context.ts'
import { decideAddPolicy, decideIsolation, decideRemovePolicy, unknownPolicy } from './decide.ts'
import { policyBody, policyView } from './schema.ts'

const addQuery = z.object({ dryRun: z.enum(['true', 'false']).default('false') })
const isolationBody = z.strictObject({ mode: z.enum(['strict', 'open']) })

/** `/weft/v1/policies`, and how a network treats what no policy speaks of. */
export function policyRoutes(app: FastifyInstance, { context }: { readonly context: MasterContext }): void {
  const { registrar, keeper } = context
  app.get('/weft/v1/policies', async () => ({
    policies: [...registrar.state.policies.values()].toSorted(comparePolicies).map(policyView),
  }))
  app.get<{ Params: { name: string } }>('/weft/v1/policies/:name', async ({ params }) => {
    const policy = registrar.state.policies.get(params.name)
    if (policy === undefined) throw unknownPolicy(params.name)
    return policyView(policy)
  })
  app.post('/weft/v1/policies', async ({ body, query }, reply) => {
    const { dryRun } = addQuery.parse(query)
    const policy = policyBody.parse(body)
    if (dryRun === 'true') {
      decideAddPolicy(policy)(registrar.state) // only for what it refuses
      return { ...policyView(policy), dryRun: true, version: keeper.version() }
    }
    await registrar.apply(decideAddPolicy(policy))
    return reply.code(201).send({ ...policyView(policy), version: keeper.flush() })
  })
  app.delete<{ Params: { name: string } }>('/weft/v1/policies/:name', async ({ params }) => {
    await registrar.apply(decideRemovePolicy(params.name))
    return { version: keeper.flush() }
  })
  app.put<{ Params: { name: string } }>('/weft/v1/networks/:name/isolation', async ({ params, body }) => {
    const { mode } = isolationBody.parse(body)
    await registrar.apply(decideIsolation(parseNetworkName(params.name), mode))
    return { version: keeper.flush() }
  })
}
