import { type FastifyInstance, type FastifyPluginAsync, type FastifyReply, type FastifyRequest } from 'fastify'
import { AppError, errorMessage } from '../../../base/errors.ts'
import { acceptProblem, contentTypeProblem, type Refusal } from '../../../api/mesos/media.ts'
import { parseCall, type SchedulerRequest } from './parse-call.ts'
import { openSubscribers, type SchedulerRoutesOptions, type Subscribers } from './subscribers.ts'

/** Where Mesos has it. */
const paths = ['/api/v1/scheduler', '/master/api/v1/scheduler'] as const

/**
 * The v1 scheduler API: calls by POST, events as RecordIO on the answer to SUBSCRIBE. Status codes and texts are those of
 * mesos, src/master/http.cpp, Master::Http::scheduler.
 */
export function schedulerRoutes(options: SchedulerRoutesOptions): FastifyPluginAsync {
  return async (app) => {
    const subscribers = openSubscribers(options)
    // All bodies come as octets, whatever their type says: the answer to a wrong type is not fastify's.
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    app.setErrorHandler((error, _request, reply) => refuse(reply, refusalOf(error)))
    for (const path of paths) {
      app.post(path, async (request, reply) => serve(request, reply, { options, subscribers }))
      refuseOtherMethods(app, path)
    }
  }
}

function refuseOtherMethods(app: FastifyInstance, path: string): void {
  app.route({
    method: ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'],
    url: path,
    handler: async ({ method }, reply) => {
      reply.header('Allow', 'POST')
      return refuse(reply, { status: 405, text: `Expecting one of { 'POST' }, but received '${method}'` })
    },
  })
}

interface Served {
  readonly options: SchedulerRoutesOptions
  readonly subscribers: Subscribers
}

async function serve(request: FastifyRequest, reply: FastifyReply, served: Served): Promise<FastifyReply> {
  const { headers } = request
  const wrongType = contentTypeProblem(headers['content-type'])
  if (wrongType !== undefined) return refuse(reply, wrongType)
  const call = parseBody(request.body, served.options)
  const wrongAccept = acceptProblem(headers.accept)
  if (wrongAccept !== undefined) return refuse(reply, wrongAccept)
  const streamId = headers['mesos-stream-id']?.toString()
  if (call.kind !== 'subscribe') return answer(reply, { call, streamId }, served)
  if (streamId !== undefined) {
    return refuse(reply, badRequest("Subscribe calls should not include the 'Mesos-Stream-Id' header"))
  }
  reply.hijack()
  served.subscribers.subscribe(reply.raw, call)
  return reply
}

function parseBody(body: unknown, { context }: SchedulerRoutesOptions): SchedulerRequest {
  const text = Buffer.isBuffer(body) ? body.toString('utf8') : ''
  return parseCall(parseJson(text), (id) => {
    const user = context.frameworks.get(id)?.info.user ?? ''
    return user === 'root' ? '' : user // an agent runs tasks as root anyway
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new AppError('ERR_SCHEDULER_JSON', `Failed to parse body into JSON: ${errorMessage(error)}`)
  }
}

interface Call {
  readonly call: Exclude<SchedulerRequest, { readonly kind: 'subscribe' }>
  readonly streamId: string | undefined
}

function answer(reply: FastifyReply, { call, streamId }: Call, { options, subscribers }: Served): FastifyReply {
  const found = subscribers.find(call.frameworkId, streamId)
  if (found.kind === 'refused') return refuse(reply, found)
  switch (call.kind) {
    case 'ignored':
      return reply.code(202).send()
    case 'unimplemented':
      return refuse(reply, { status: 501, text: `${call.type} is not supported` })
    case 'update-framework': {
      const problem = call.problem ?? subscribers.updateProblem(call.frameworkId, call.call.info)
      if (problem !== undefined) return refuse(reply, badRequest(problem))
      found.connection.call(call.call)
      return reply.code(200).send()
    }
    case 'call':
      options.context.log.debug({ frameworkId: call.frameworkId, call: call.call.kind }, 'scheduler call')
      found.connection.call(call.call)
      return reply.code(202).send()
  }
}

function badRequest(text: string): Refusal {
  return { status: 400, text }
}

/** Mesos's words before what was found. */
const prefixOf: Readonly<Record<string, string>> = {
  ERR_SCHEDULER_JSON: '',
  ERR_SCHEDULER_MALFORMED: 'Failed to convert JSON into Call protobuf: ',
  ERR_SCHEDULER_INVALID: 'Failed to validate scheduler::Call: ',
  ERR_SCHEDULER_UNSUPPORTED: 'Failed to validate scheduler::Call: ',
}

function refusalOf(error: unknown): Refusal {
  const prefix = error instanceof AppError ? prefixOf[error.code] : undefined
  if (prefix !== undefined) return badRequest(`${prefix}${errorMessage(error)}`)
  const given = typeof error === 'object' && error !== null && 'statusCode' in error ? Number(error.statusCode) : 500
  return { status: given, text: errorMessage(error) }
}

function refuse(reply: FastifyReply, { status, text }: Refusal): FastifyReply {
  return reply.code(status).type('text/plain; charset=utf-8').send(text)
}
