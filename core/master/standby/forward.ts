import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { AppError, errorMessage, hasCode } from '../../base/errors.ts'

/** Marks a request that a standby passed on: it is not passed on a second time. */
export const forwardedBy = 'weft-forwarded-by'

/** As the leader takes: openHttpServer's bodyLimit. */
const bodyLimit = 4 * 1024 * 1024

/** Of this hop only. Source: RFC 9110 section 7.6.1. */
const hopHeaders = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'host',
] as const

/** The body of a request, kept so that it can be sent again. @throws ERR_MASTER_BODY when it is too large */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue
    length += chunk.length
    if (length > bodyLimit) throw new AppError('ERR_MASTER_BODY', `a body has at most ${bodyLimit} octets`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What is passed on, and where to. */
export interface Forwarding {
  readonly request: IncomingMessage
  readonly body: Buffer
  readonly response: ServerResponse
  /** `address:port` */
  readonly to: string
  /** Our own name. */
  readonly by: string
}

/**
 * Passes a request on and its answer back, as a stream. Once the answer has begun, what breaks it breaks the client's too.
 * @throws ERR_MASTER_FORWARD when the leader gave no answer: `details.sent` tells whether it may have got the request
 */
export function forward({ request, body, response, to, by }: Forwarding): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !isHopHeader(name)))
    const { hostname, port } = new URL(`http://${to}`)
    const upstream = httpRequest({
      host: hostname.replace(/^\[|\]$/g, ''),
      port,
      path: request.url,
      method: request.method,
      agent: false,
      headers: { ...headers, host: to, [forwardedBy]: by, 'content-length': body.length },
    })
    const leave = () => upstream.destroy()
    response.once('close', leave)
    upstream.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, withoutHop(answer.rawHeaders))
      response.flushHeaders()
      answer.pipe(response)
      answer.on('error', () => response.destroy())
      answer.on('end', resolve)
      answer.on('close', () => {
        if (!answer.complete) response.destroy()
        resolve()
      })
    })
    upstream.on('error', (cause) => {
      if (response.headersSent || response.destroyed) return resolve()
      response.off('close', leave)
      const details = { sent: !hasCode(cause, 'ECONNREFUSED') }
      reject(
        new AppError('ERR_MASTER_FORWARD', `no answer from the leader at ${to}: ${errorMessage(cause)}`, {
          cause,
          details,
        }),
      )
    })
    upstream.end(body)
  })
}

function isHopHeader(name: string): boolean {
  return hopHeaders.some((hop) => hop === name.toLowerCase())
}

/** Name, value, name, value, …: repeated headers stay as they are. */
function withoutHop(rawHeaders: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    if (!isHopHeader(name)) kept.push(name, rawHeaders[i + 1] ?? '')
  }
  return kept
}
