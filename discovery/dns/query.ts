import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { AppError, hasCode } from '../../core/base/errors.ts'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { dnsClass, maxMessageBytes, opcode } from './constants.ts'
import { decodeMessage, encodeMessage, type Message } from './message.ts'
import { type Name, nameKey } from './name.ts'

/** A question to one server. */
export interface DnsQuery {
  readonly server: Ip
  readonly port?: number
  readonly name: Name
  /** Number of the type: `typeCode('A')`, `parseType('SRV')`. */
  readonly type: number
  /** Over TCP from the start; otherwise UDP, and TCP only when the reply was truncated. */
  readonly tcp?: boolean
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Octets that we take over UDP: what no path fragments. Source: DNS flag day 2020. */
const udpSizeBytes = 1232

/**
 * Asks one server once. A reply that is not from it, or that answers something else, is ignored.
 * @throws ERR_DNS_TIMEOUT when no reply came in time; ERR_DNS_FORMAT when the reply is malformed; ERR_DNS_NETWORK when
 *   the server can't be reached; AbortError
 */
export async function queryDns(query: DnsQuery): Promise<Message> {
  const message = questionMessage(query)
  const timeout = AbortSignal.timeout(query.timeoutMs)
  const signal = AbortSignal.any([query.signal, timeout])
  try {
    if (query.tcp === true) return await askTcp(query, message, signal)
    const reply = await askUdp(query, message, signal)
    return reply.truncated ? await askTcp(query, message, signal) : reply
  } catch (error) {
    query.signal.throwIfAborted()
    if (!timeout.aborted) throw error
    const waited = `no reply from ${query.server} port ${query.port ?? 53} within ${query.timeoutMs} ms`
    throw new AppError('ERR_DNS_TIMEOUT', `${waited}: is the server running?`, { cause: error })
  }
}

function questionMessage({ name, type }: DnsQuery): Message {
  return {
    id: randomInt(0x10000),
    response: false,
    opcode: opcode.QUERY,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: 0,
    questions: [{ name, type, class: dnsClass.IN }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: { udpSizeBytes, version: 0, dnssecOk: false, options: [] },
  }
}

/** RFC 5452 §3: a reply counts when its id and question are those of the query. */
function answers(reply: Message, query: Message): boolean {
  const [asked] = query.questions
  const [echoed] = reply.questions
  if (!reply.response || reply.id !== query.id || asked === undefined) return false
  if (echoed === undefined) return reply.rcode !== 0
  return nameKey(echoed.name) === nameKey(asked.name) && echoed.type === asked.type
}

function askUdp(query: DnsQuery, message: Message, signal: AbortSignal): Promise<Message> {
  signal.throwIfAborted()
  // A connected socket takes datagrams from the server only.
  const socket = createSocket(ipFamily(query.server) === 4 ? 'udp4' : 'udp6')
  return new Promise<Message>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    socket.on('error', (error) => reject(unreachableServer(query, error)))
    socket.on('message', (bytes) => {
      try {
        const reply = decodeMessage(bytes)
        if (answers(reply, message)) resolve(reply)
      } catch (error) {
        if (bytes.readUInt16BE(0) === message.id) reject(error)
      }
    })
    socket.connect(query.port ?? 53, query.server, () => {
      socket.send(encodeMessage(message, { limitBytes: maxMessageBytes }))
    })
  }).finally(() => socket.close())
}

function askTcp(query: DnsQuery, message: Message, signal: AbortSignal): Promise<Message> {
  signal.throwIfAborted()
  const socket = connect({ host: query.server, port: query.port ?? 53, noDelay: true })
  return new Promise<Message>((resolve, reject) => {
    let received = Buffer.alloc(0)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    socket.on('error', (error) => reject(unreachableServer(query, error)))
    socket.on('close', () => reject(unreachableServer(query, new Error('the server closed the connection'))))
    socket.on('connect', () => {
      const bytes = encodeMessage(message, { limitBytes: maxMessageBytes })
      socket.write(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]))
    })
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      try {
        const reply = decodeMessage(received.subarray(2, 2 + received.readUInt16BE(0)))
        if (answers(reply, message)) resolve(reply)
        else reject(new AppError('ERR_DNS_FORMAT', `${query.server} answered another question than was asked`))
      } catch (error) {
        reject(error)
      }
    })
  }).finally(() => socket.destroy())
}

function unreachableServer(query: DnsQuery, cause: Error): AppError {
  const where = `${query.server} port ${query.port ?? 53}`
  const hint = hasCode(cause, 'ECONNREFUSED') ? ': nothing listens there' : ''
  return new AppError('ERR_DNS_NETWORK', `can't ask ${where}${hint} (${cause.message})`, { cause })
}
