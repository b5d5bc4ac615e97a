import { type FastifyInstance, type FastifyPluginAsync, type FastifyReply } from 'fastify'
import { z } from 'zod'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { parseNodeName } from '../../model/ids.ts'
import { forgetAgent } from '../agents/liveness.ts'
import { type MasterContext } from '../context.ts'
import { decideFillShares, decideRemoveNode } from '../networks/nodes.ts'
import { policyRoutes } from '../policies/routes.ts'
import { metricsText } from './metrics.ts'
import { type NetworkRoutesOptions, networkRoutes } from './networks.ts'
import { stateRoutes } from './state/routes.ts'
import { statusOfCode } from './status.ts'
import { vipRoutes } from './vips.ts'
import { agentView, nodeView, snapshotView, taskView } from './views.ts'

/** What the routes need beside the master. */
export interface RoutesOptions extends NetworkRoutesOptions {
  readonly version: string
  /** `address:port` that Mesos clients are told as the leader's. */
  readonly advertised: () => string
}

const longestWaitMs = 600_000

const convergeQuery = z.object({
  version: z.coerce.number().int().nonnegative().optional(),
  timeoutMs: z.coerce.number().int().min(0).max(longestWaitMs).default(0),
})

/** The master's own HTTP interface, `/weft/v1` and what Mesos clients look for. */
export function masterRoutes(options: RoutesOptions): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler((error, _request, reply) => answerError(error, reply))
    readRoutes(app, options)
    networkRoutes(app, options)
    vipRoutes(app, options)
    policyRoutes(app, options)
    convergeRoute(app, options)
    stateRoutes(app, options)
  }
}

function readRoutes(app: FastifyInstance, { context, version }: RoutesOptions): void {
  const { keeper, tasks, agents, registrar } = context
  app.get('/weft/v1/nodes', async () => ({
    nodes: [...registrar.state.nodes.values()].map((node) => nodeView(context, node)),
  }))
  app.get('/weft/v1/agents', async () => ({
    agents: [...agents.values()].map((agent) => agentView(context, agent)),
  }))
  app.get('/weft/v1/masters', async () => ({ term: context.term, masters: context.roster.list() }))
  app.get('/weft/v1/tasks', async () => ({ tasks: [...tasks.all()].map((task) => taskView(context, task)) }))
  app.get('/weft/v1/snapshot', async () => snapshotView(keeper.view()))
  for (const prefix of ['', '/master']) {
    app.get(`${prefix}/health`, async () => ({ healthy: true }))
    app.get(`${prefix}/version`, async () => ({ version, name: 'weft', node: process.version }))
  }
  app.get('/leader', async () => ({ leader: context.self, term: context.term }))
  app.get('/metrics', async (_request, reply) => {
    const { type, text } = await metricsText(context)
    return reply.type(type).send(text)
  })
  app.delete<{ Params: { name: string } }>('/weft/v1/nodes/:name', async ({ params }, reply) => {
    await removeNode(context, params.name)
    return reply.code(200).send({ version: context.keeper.flush() })
  })
}

async function removeNode(context: MasterContext, text: string): Promise<void> {
  const name = parseNodeName(text)
  const node = context.registrar.state.nodes.get(name)
  const agent = node?.agentId === undefined ? undefined : context.agents.get(node.agentId)
  if (agent?.link !== undefined || context.progress.of(name).connected || name === context.self) {
    throw new AppError('ERR_MASTER_NODE_IN_USE', `node "${name}" is connected: stop its agent and node daemon first`)
  }
  await context.registrar.apply(decideRemoveNode(name))
  context.usage.forget(name)
  context.progress.forget(name)
  if (agent !== undefined) forgetAgent(context, agent.record.id, 'removed')
  await context.registrar.apply(decideFillShares(context.profile))
}

function convergeRoute(app: FastifyInstance, { context }: RoutesOptions): void {
  app.get('/weft/v1/converge', async ({ query, raw }) => {
    const { version, timeoutMs } = convergeQuery.parse(query)
    const gone = new AbortController()
    const leave = () => gone.abort()
    raw.socket.once('close', leave)
    try {
      const wanted = version ?? context.keeper.flush()
      return await context.progress.wait(wanted, { timeoutMs, signal: gone.signal })
    } finally {
      raw.socket.off('close', leave)
    }
  })
}

/** Answers with `{message}`, for wrong input also `{details: [{path, errors}]}` as /v2 does. */
function answerError(error: unknown, reply: FastifyReply): FastifyReply {
  if (error instanceof z.ZodError) {
    const details = error.issues.map(({ path, message }) => ({ path: `/${path.join('/')}`, errors: [message] }))
    return reply
      .code(422)
      .send({ message: details.map(({ path, errors }) => `${path}: ${errors}`).join('; '), details })
  }
  if (error instanceof AppError) {
    const status = statusOfCode[error.code] ?? 500
    return reply.code(status).send({ message: error.message, code: error.code, ...error.details })
  }
  if (hasCode(error, 'ABORT_ERR')) return reply.code(499).send({ message: 'the client went away' })
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : 500
  return reply.code(status).send({ message: errorMessage(error) })
}
