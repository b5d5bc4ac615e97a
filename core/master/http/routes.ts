import { type FastifyInstance, type FastifyPluginAsync, type FastifyReply } from 'fastify'
import { z } from 'zod'
import { parseCidr } from '../../base/cidr.ts'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'
import { type NetworkName, parseNetworkName, parseNodeName } from '../../model/ids.ts'
import { forgetAgent } from '../agents/liveness.ts'
import { type MasterContext } from '../context.ts'
import { decideCreateNetwork, decideRemoveNetwork, unknownNetwork } from '../networks/networks.ts'
import { decideRemoveNode } from '../networks/nodes.ts'
import { holdsResources } from '../tasks/tasks.ts'
import { metricsText } from './metrics.ts'
import { mesosState } from './mesos-state.ts'
import { agentView, networkView, nodeView, snapshotView, taskView } from './views.ts'

/** What the routes need beside the master. */
export interface RoutesOptions {
  readonly context: MasterContext
  readonly version: string
  /** `address:port` that Mesos clients are told as the leader's. */
  readonly advertised: () => string
}

const longestWaitMs = 600_000

const convergeQuery = z.object({
  version: z.coerce.number().int().nonnegative().optional(),
  timeoutMs: z.coerce.number().int().min(0).max(longestWaitMs).default(0),
})

const subnet = z.string().transform((text, refinement) => {
  try {
    return parseCidr(text)
  } catch (error) {
    refinement.addIssue({ code: 'custom', message: errorMessage(error) })
    return z.NEVER
  }
})

const networkName = z.string().transform((text, refinement) => {
  try {
    return parseNetworkName(text)
  } catch (error) {
    refinement.addIssue({ code: 'custom', message: errorMessage(error) })
    return z.NEVER
  }
})

const networkBody = z.strictObject({ name: networkName, subnets: z.array(subnet).min(1).max(2).optional() })

/** The master's own HTTP interface, `/weft/v1` and what Mesos clients look for. */
export function masterRoutes(options: RoutesOptions): FastifyPluginAsync {
  return async (app) => {
    app.setErrorHandler((error, _request, reply) => answerError(error, reply))
    readRoutes(app, options)
    networkRoutes(app, options)
    convergeRoute(app, options)
    mesosRoutes(app, options)
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
  app.get('/weft/v1/tasks', async () => ({ tasks: [...tasks.all()].map((task) => taskView(context, task)) }))
  app.get('/weft/v1/networks', async () => ({
    networks: [...registrar.state.networks.values()].map((network) => networkView(context, network)),
  }))
  app.get('/weft/v1/vips', async () => ({ vips: [...keeper.vips.values.values()] }))
  app.get('/weft/v1/snapshot', async () => snapshotView(keeper.view()))
  app.get('/health', async () => ({ healthy: true }))
  app.get('/version', async () => ({ version, name: 'weft', node: process.version }))
  app.get('/leader', async () => ({ leader: context.self, term: context.term }))
  app.get('/metrics', async (_request, reply) => {
    const { type, text } = await metricsText(context)
    return reply.type(type).send(text)
  })
  app.delete<{ Params: { name: string } }>('/weft/v1/nodes/:name', async ({ params }, reply) => {
    await removeNode(context, params.name)
    return reply.code(204).send()
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
  if (agent !== undefined) forgetAgent(context, agent.record.id, 'removed')
}

function networkRoutes(app: FastifyInstance, { context }: RoutesOptions): void {
  app.post('/weft/v1/networks', async ({ body }, reply) => {
    const { name, subnets } = networkBody.parse(body)
    const wish = subnets === undefined ? { name } : { name, subnets }
    await context.registrar.apply(decideCreateNetwork(context.profile, wish))
    const network = context.registrar.state.networks.get(name)
    if (network === undefined) throw unknownNetwork(name)
    const version = context.keeper.flush()
    return reply.code(201).send({ ...networkView(context, network), version })
  })
  app.delete<{ Params: { name: string } }>('/weft/v1/networks/:name', async ({ params }, reply) => {
    const name = networkName.parse(params.name)
    const users = usersOf(context, name)
    if (users.length > 0) {
      const message = `network "${name}" is used by ${users.length} tasks: ${users.slice(0, 10).join(', ')}`
      return reply.code(409).send({ message, tasks: users })
    }
    await context.registrar.apply(decideRemoveNetwork(name))
    return reply.code(200).send({ version: context.keeper.flush() })
  })
}

function usersOf({ tasks }: MasterContext, name: NetworkName): readonly string[] {
  const users = [...tasks.all()].filter((task) => task.info.networks.some((request) => request.name === name))
  return users.filter(holdsResources).map(({ info }) => info.taskId)
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

function mesosRoutes(app: FastifyInstance, { context, version, advertised }: RoutesOptions): void {
  for (const path of ['/state', '/master/state']) {
    app.get(path, async () => mesosState(context, { version, advertised: advertised() }))
  }
}

/** Codes that are the caller's fault, or the cluster's state, and how HTTP says so. The others are 500. */
const statusOfCode: Readonly<Record<string, number>> = {
  ERR_MODEL_ID: 422,
  ERR_MASTER_NETWORK_SUBNET: 422,
  ERR_MASTER_NETWORK_EXISTS: 409,
  ERR_MASTER_NETWORK_OVERLAP: 409,
  ERR_MASTER_NETWORKS_EXHAUSTED: 409,
  ERR_MASTER_NODE_IN_USE: 409,
  ERR_MASTER_NETWORK_UNKNOWN: 404,
  ERR_MASTER_NODE_UNKNOWN: 404,
  ERR_STORE_FULL: 503,
  ERR_STORE_IO: 503,
  ERR_STORE_TERM: 503,
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
    return reply.code(status).send({ message: error.message, code: error.code })
  }
  if (hasCode(error, 'ABORT_ERR')) return reply.code(499).send({ message: 'the client went away' })
  const status = typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : 500
  return reply.code(status).send({ message: errorMessage(error) })
}
