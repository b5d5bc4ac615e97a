import { type IncomingMessage, request } from 'node:http'
import { pipeline } from 'node:stream'
import { type FastifyPluginAsync, type FastifyReply } from 'fastify'
import { errorMessage } from '../../base/errors.ts'
import { type MasterContext } from '../context.ts'

/** An agent answers at once, or not at all. */
const silenceMs = 30_000

/** `GET /agent/ID/…`: the agent's own HTTP interface, for clients that can't reach its address. As DC/OS's Admin Router has it. */
export function agentProxyRoutes(context: MasterContext): FastifyPluginAsync {
  return async (app) => {
    app.get<{ Params: { id: string } }>('/agent/:id/*', ({ params, url }, reply) => {
      const record = [...context.agents.values()].find((agent) => agent.record.id === params.id)?.record
      const path = url.slice(url.indexOf('/', '/agent/'.length + 1))
      if (record === undefined) return reply.code(404).send({ message: `there is no agent "${params.id}"` })
      if (record.httpPort === undefined) {
        return reply.code(502).send({ message: `agent ${record.id} has told no port of an HTTP interface` })
      }
      return pass({ host: record.underlay, port: record.httpPort, path }, reply)
    })
  }
}

function pass(to: { readonly host: string; readonly port: number; readonly path: string }, reply: FastifyReply) {
  reply.hijack()
  const { raw } = reply
  const refuse = (error: Error) => {
    if (raw.headersSent) return raw.destroy()
    raw.writeHead(502, { 'Content-Type': 'application/json' })
    return raw.end(JSON.stringify({ message: `no answer from ${to.host} port ${to.port}: ${errorMessage(error)}` }))
  }
  const onAnswer = (answer: IncomingMessage) => {
    const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...headers } = answer.headers
    raw.writeHead(answer.statusCode ?? 502, headers)
    pipeline(answer, raw, () => undefined) // either end may break: both are closed then
  }
  const asked = request({ ...to, agent: false, timeout: silenceMs }, onAnswer)
  asked.on('timeout', () => asked.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
  asked.on('error', refuse)
  raw.on('close', () => asked.destroy())
  asked.end()
  return reply
}
