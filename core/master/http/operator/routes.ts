import { type FastifyPluginAsync, type FastifyReply, type FastifyRequest } from 'fastify'
import { acceptProblem, contentTypeProblem, type Refusal } from '../../../api/mesos/media.ts'
import { withoutNulls } from '../../../api/mesos/problem.ts'
import { AppError, errorMessage, unreachable } from '../../../base/errors.ts'
import { type FrameworkId } from '../../../model/ids.ts'
import { deactivateAgent, drainAgent, markAgentGone, reactivateAgent } from '../../agents/operator.ts'
import { type MasterContext } from '../../context.ts'
import { teardown } from '../../frameworks/lifecycle.ts'
import { operate } from '../../reservations/operate.ts'
import { setQuota, setWeights } from '../../reservations/roles.ts'
import { openFragments } from '../state/fragments.ts'
import { openStateCounts } from '../state/metrics-snapshot.ts'
import { sendPieces } from '../state/pieces.ts'
import { viewState } from '../state/view.ts'
import { statusOfCode } from '../status.ts'
import { answerQuestion } from './answers.ts'
import { type OperatorCall, parseOperatorCall } from './calls.ts'
import { openOperatorSubscribers, type OperatorSubscribers } from './subscribers.ts'

/** What the operator API needs beside the master. */
export interface OperatorRoutesOptions {
  readonly context: MasterContext
  readonly version: string
  /** `address:port` of this master. */
  readonly advertised: () => string
  /** Octets of events that may wait for one subscriber; 16 MiB when absent. */
  readonly maxQueuedBytes?: number
  readonly stallLimitMs?: number
}

const paths = ['/api/v1', '/master/api/v1'] as const

/**
 * The v1 operator API: POST of a call, JSON. Status codes are those of mesos, src/master/http.cpp, Master::Http::api; a failure
 * says in plain text what to do.
 */
export function operatorRoutes(options: OperatorRoutesOptions): FastifyPluginAsync {
  return async (app) => {
    const { context, version, advertised, maxQueuedBytes: maxQueued, stallLimitMs } = options
    const fragments = openFragments()
    const counts = openStateCounts()
    const view = () => viewState(context, { version, advertised: advertised() }, fragments)
    const limits = { ...(maxQueued && { maxQueued }), ...(stallLimitMs && { stallLimitMs }) }
    const subscribers = openOperatorSubscribers({ context, view, ...limits })
    app.addHook('onClose', async () => subscribers.close())
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    app.setErrorHandler((error, _request, reply) => refuse(reply, refusalOf(error)))
    const asked = () => ({ view: view(), counts })
    for (const path of paths) {
      app.post(path, (request, reply) => serve(request, reply, { context, asked, subscribers }))
      app.route({
        method: ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'],
        url: path,
        handler: async ({ method }, reply) => {
          reply.header('Allow', 'POST')
          return refuse(reply, { status: 405, text: `Expecting one of { 'POST' }, but received '${method}'` })
        },
      })
    }
  }
}

interface Served {
  readonly context: MasterContext
  readonly asked: () => Parameters<typeof answerQuestion>[1]
  readonly subscribers: OperatorSubscribers
}

async function serve(request: FastifyRequest, reply: FastifyReply, served: Served): Promise<FastifyReply> {
  const { headers, body } = request
  const wrongType = contentTypeProblem(headers['content-type'])
  if (wrongType !== undefined) return refuse(reply, wrongType)
  const call = parseOperatorCall(withoutNulls(parseJson(Buffer.isBuffer(body) ? body.toString('utf8') : '')))
  const wrongAccept = acceptProblem(headers.accept)
  if (wrongAccept !== undefined) return refuse(reply, wrongAccept)
  if (call.kind !== 'question') return reply.code(await obey(served.context, call)).send()
  reply.hijack()
  if (call.type === 'SUBSCRIBE') {
    if (!served.subscribers.subscribe(reply.raw)) reply.raw.writeHead(503, { 'retry-after': '1' }).end()
    return reply
  }
  const { raw: response } = reply
  response.on('error', () => undefined) // a reset is a close too
  response.writeHead(200, { 'content-type': 'application/json' })
  if (await sendPieces(response, answerQuestion(call.type, served.asked()), served.context)) response.end()
  return reply
}

/** Does what is asked. @returns the status that Mesos answers with; throws what is wrong */
async function obey(
  context: MasterContext,
  call: Exclude<OperatorCall, { readonly kind: 'question' }>,
): Promise<200 | 202> {
  switch (call.kind) {
    case 'quota':
      await setQuota(context, call.changes, { force: call.force })
      return 200
    case 'weights':
      await setWeights(context, call.weights)
      return 200
    case 'drain': {
      const { agentId, maxGraceMs, afterwards } = call
      await drainAgent(context, agentId, { afterwards, ...(maxGraceMs === undefined ? {} : { maxGraceMs }) })
      return 200
    }
    case 'deactivate':
      await deactivateAgent(context, call.agentId)
      return 200
    case 'reactivate':
      await reactivateAgent(context, call.agentId)
      return 200
    case 'gone':
      await markAgentGone(context, call.agentId)
      return 200
    case 'teardown':
      endFramework(context, call.frameworkId)
      return 200
    case 'operate':
      for (const operation of call.operations) await operate(context, call.agentId, { operation })
      return 202
    case 'unimplemented':
      throw new AppError('ERR_OPERATOR_UNIMPLEMENTED', `${call.type} is not supported`)
    default:
      return unreachable(call)
  }
}

/** Mesos says 400 here, not 404. */
function endFramework(context: MasterContext, id: FrameworkId): void {
  const framework = context.frameworks.get(id)
  if (framework === undefined || framework.state === 'removed') {
    throw new AppError('ERR_OPERATOR_FRAMEWORK', 'No framework found with specified ID')
  }
  framework.deliver?.({ kind: 'error', message: 'Framework terminated by operator' })
  teardown(context, framework)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new AppError('ERR_SCHEDULER_JSON', `Failed to parse body into JSON: ${errorMessage(error)}`)
  }
}

const statuses: Readonly<Record<string, number>> = {
  ERR_SCHEDULER_JSON: 400,
  ERR_SCHEDULER_MALFORMED: 400,
  ERR_SCHEDULER_UNSUPPORTED: 400,
  ERR_OPERATOR_FRAMEWORK: 400,
  ERR_OPERATOR_UNIMPLEMENTED: 501,
}

function refusalOf(error: unknown): Refusal {
  const text = errorMessage(error)
  if (error instanceof AppError) {
    const status = statuses[error.code] ?? statusOfCode[error.code] ?? 500
    return { status: status === 422 ? 400 : status, text } // Mesos knows no 422
  }
  const given = typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : 500
  return { status: given, text }
}

function refuse(reply: FastifyReply, { status, text }: Refusal): FastifyReply {
  return reply.code(status).type('text/plain; charset=utf-8').send(text)
}
