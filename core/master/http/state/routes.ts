import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { z } from 'zod'
import { type MasterContext } from '../../context.ts'
import { flagsOf, frameworksDocument, slavesDocument, stateDocument, summaryDocument } from './documents.ts'
import { openFragments } from './fragments.ts'
import { metricsSnapshot, openStateCounts } from './metrics-snapshot.ts'
import { type Piece, sendPieces, toJson } from './pieces.ts'
import { rolesDocument } from './roles.ts'
import { tasksDocument, tasksQuery } from './tasks-page.ts'
import { type StateView, viewState } from './view.ts'

/** What the state endpoints need beside the master. */
export interface StateRoutesOptions {
  readonly context: MasterContext
  readonly version: string
  /** `address:port` that Mesos clients are told as the leader's. */
  readonly advertised: () => string
}

/** JSON that nobody asked for any more is forgotten after this. */
const idleMs = 300_000

const jsonp = z.looseObject({
  jsonp: z
    .string()
    .regex(/^[\w$.[\]]{1,200}$/, 'must be the name of a function')
    .optional(),
})

type Document = (view: StateView, query: unknown) => Iterable<Piece>

/** What there is below `/` and `/master/`, with Mesos's field names. Source: reference/mesos-http-api.md, State. */
const documents: Readonly<Record<string, Document>> = {
  '/state': stateDocument,
  '/state.json': stateDocument,
  '/state-summary': summaryDocument,
  '/slaves': slavesDocument,
  '/frameworks': frameworksDocument,
  '/tasks': (view, query) => tasksDocument(view, tasksQuery.parse(query)),
  '/tasks.json': (view, query) => tasksDocument(view, tasksQuery.parse(query)),
}

/**
 * The state endpoints, each also below `/master`. Large ones are sent in slices, as fast as they are read, from JSON that is
 * kept until what it tells of changes.
 */
export function stateRoutes(app: FastifyInstance, { context, version, advertised }: StateRoutesOptions): void {
  const fragments = openFragments()
  const counts = openStateCounts()
  let forget = () => {}
  const view = () => {
    forget()
    forget = context.clock.after(idleMs, () => fragments.clear())
    return viewState(context, { version, advertised: advertised() }, fragments)
  }
  app.addHook('onClose', async () => forget())
  const small: Readonly<Record<string, () => object>> = {
    '/roles': () => rolesDocument(context),
    '/roles.json': () => rolesDocument(context),
    '/flags': () => ({ flags: flagsOf({ context, about: { version, advertised: advertised() } }) }),
    '/metrics/snapshot': () => metricsSnapshot(context, { counts }),
  }
  for (const prefix of ['', '/master']) {
    for (const [path, document] of Object.entries(documents)) {
      app.get(`${prefix}${path}`, (request, reply) => {
        const pieces = document(view(), request.query)
        return answer(request, reply, { pieces, context })
      })
    }
    for (const [path, make] of Object.entries(small)) {
      app.get(`${prefix}${path}`, (request, reply) => answer(request, reply, { pieces: [toJson(make())], context }))
    }
    app.get(`${prefix}/redirect`, async (_request, reply) =>
      reply.code(307).header('location', `//${advertised()}/`).send(),
    )
  }
}

interface Answer {
  readonly pieces: Iterable<Piece>
  readonly context: MasterContext
}

/** Source of `jsonp`: mesos, 3rdparty/libprocess, http::OK. */
async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  { pieces, context }: Answer,
): Promise<FastifyReply> {
  const { jsonp: callback } = jsonp.parse(request.query)
  const response = reply.raw
  reply.hijack()
  response.on('error', () => undefined) // a reset is a close too
  response.writeHead(200, { 'content-type': callback === undefined ? 'application/json' : 'text/javascript' })
  if (request.method === 'HEAD') {
    response.end()
    return reply
  }
  const whole = callback === undefined ? pieces : wrapped(callback, pieces)
  try {
    if (await sendPieces(response, whole, context)) response.end()
  } catch (error) {
    response.destroy()
    throw error
  }
  return reply
}

function* wrapped(callback: string, pieces: Iterable<Piece>): Generator<Piece> {
  yield `${callback}(`
  yield* pieces
  yield ');'
}
