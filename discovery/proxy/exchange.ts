import { createSocket, type Socket } from 'node:dgram'
import { randomInt } from 'node:crypto'
import { connect } from 'node:net'
import { AppError } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { maxMessageBytes } from '../dns/constants.ts'
import { decodeMessage, encodeMessage, type Message, type Question } from '../dns/message.ts'
import { type Name, nameKey } from '../dns/name.ts'
import { frame, makeFrameSplitter } from '../server/frames.ts'
import { type Upstream } from './config.ts'
import { makeRandomBytes } from './random.ts'

/** Asks upstreams. */
export interface Exchange {
  /**
   * One question to one upstream. Only a reply from it, with our id and our question in our random case, counts
   * (RFC 5452 §9). @throws ERR_DNS_NETWORK when it can't be reached; AbortError
   */
  ask(upstream: Upstream, query: Message, options: { readonly signal: AbortSignal }): Promise<Message>
  close(): void
}

/** Sockets for each upstream: each has a random port, one is chosen at random, and none lives long. */
const poolSize = 16
const maxUses = 500

interface Pending {
  readonly question: Question
  readonly settle: (reply: Message) => void
  readonly fail: (error: unknown) => void
}

interface PooledSocket {
  readonly socket: Socket
  readonly pending: Map<number, Pending>
  uses: number
  connected: boolean
}

/** No socket is open until something is asked. */
export function openExchange(): Exchange {
  const random = makeRandomBytes()
  const pools = new Map<string, (PooledSocket | undefined)[]>()
  const choose = (upstream: Upstream): PooledSocket => {
    const key = `${upstream.address} ${upstream.port}`
    const pool = pools.get(key) ?? []
    pools.set(key, pool)
    const at = randomInt(poolSize)
    const known = pool[at]
    if (known !== undefined && known.uses++ < maxUses) return known
    const fresh = openPooled(upstream, (gone) => {
      if (pool[at] === gone) pool[at] = undefined
    })
    pool[at] = fresh
    if (known !== undefined) retire(known)
    return fresh
  }
  return {
    ask: async (upstream, query, { signal }) => {
      signal.throwIfAborted()
      const asked = withRandomCase(query, random)
      const reply = await askUdp(choose(upstream), asked, signal)
      if (!reply.truncated && sameCase(reply, asked)) return reply
      // Also when the case is not ours: whoever guessed the id can't also hold a TCP connection.
      return askTcp(upstream, asked, signal)
    },
    close: () => {
      for (const pool of pools.values()) for (const pooled of pool) pooled?.socket.close()
      pools.clear()
    },
  }
}

function openPooled({ address, port }: Upstream, gone: (pooled: PooledSocket) => void): PooledSocket {
  const socket = createSocket(ipFamily(address) === 4 ? 'udp4' : 'udp6')
  const pooled: PooledSocket = { socket, pending: new Map(), uses: 1, connected: false }
  const fail = (error: Error) => {
    for (const { fail } of pooled.pending.values()) fail(unreachable({ address, port }, error))
    pooled.pending.clear()
  }
  socket.on('error', (error) => {
    fail(error)
    gone(pooled)
    closeQuietly(socket)
  })
  socket.on('message', (bytes) => receive(pooled, bytes))
  socket.once('connect', () => {
    pooled.connected = true
  })
  // Connected: the kernel drops what does not come from there, and reports that nothing listens.
  socket.connect(port, address)
  socket.unref()
  return pooled
}

function receive({ pending }: PooledSocket, bytes: Uint8Array): void {
  if (bytes.length < 12) return
  const waiting = pending.get(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0))
  if (waiting === undefined) return
  try {
    const reply = decodeMessage(bytes)
    if (answers(reply, waiting.question)) waiting.settle(reply)
  } catch {
    // ERR_DNS_FORMAT: not an answer; a better one may still come, else the race's limit ends it
  }
}

/** Replies that still come are taken; then it closes. */
function retire({ socket, pending }: PooledSocket): void {
  if (pending.size === 0) closeQuietly(socket)
  else setTimeout(() => closeQuietly(socket), 2000).unref()
}

function closeQuietly(socket: Socket): void {
  try {
    socket.close()
  } catch {
    // ERR_SOCKET_DGRAM_NOT_RUNNING: closed before
  }
}

function askUdp(pooled: PooledSocket, query: Message, signal: AbortSignal): Promise<Message> {
  const { socket, pending } = pooled
  const [question] = query.questions
  if (question === undefined) throw new AppError('ERR_DNS_FORMAT', 'a query needs a question')
  let id = randomInt(0x10000)
  while (pending.has(id)) id = randomInt(0x10000)
  return new Promise((resolve, reject) => {
    const done = () => {
      pending.delete(id)
      signal.removeEventListener('abort', abort)
    }
    const abort = () => {
      done()
      reject(signal.reason)
    }
    const fail = (error: unknown) => {
      done()
      reject(error)
    }
    const settle = (reply: Message) => {
      done()
      resolve(reply)
    }
    pending.set(id, { question, settle, fail })
    signal.addEventListener('abort', abort, { once: true })
    const bytes = encodeMessage({ ...query, id }, { limitBytes: maxMessageBytes })
    const send = () => {
      socket.send(bytes, (error) => {
        if (error !== null) socket.emit('error', error)
      })
    }
    if (pooled.connected) send()
    else socket.once('connect', send)
  })
}

function askTcp(upstream: Upstream, query: Message, signal: AbortSignal): Promise<Message> {
  signal.throwIfAborted()
  const [question] = query.questions
  const id = randomInt(0x10000)
  const socket = connect({ host: upstream.address, port: upstream.port, noDelay: true })
  const splitter = makeFrameSplitter()
  return new Promise<Message>((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    socket.on('error', (error) => reject(unreachable(upstream, error)))
    socket.on('close', () => {
      signal.removeEventListener('abort', abort)
      reject(unreachable(upstream, new Error('the connection ended')))
    })
    socket.on('connect', () => socket.write(frame(encodeMessage({ ...query, id }, { limitBytes: maxMessageBytes }))))
    socket.on('data', (chunk) => {
      try {
        for (const bytes of splitter.push(chunk)) {
          const reply = decodeMessage(bytes)
          if (reply.id === id && question !== undefined && answers(reply, question)) resolve(reply)
        }
      } catch (error) {
        reject(error)
      }
    })
  }).finally(() => socket.destroy())
}

function answers(reply: Message, { name, type }: Question): boolean {
  const [echoed, second] = reply.questions
  if (!reply.response || second !== undefined) return false
  // Servers that understand nothing of the query may leave the question out.
  if (echoed === undefined) return reply.rcode !== 0 && reply.rcode !== 3
  return nameKey(echoed.name) === nameKey(name) && echoed.type === type && echoed.class === 1
}

/** draft-vixie-dnsext-dns0x20: the case of the letters is a secret that a forger must guess too. */
function withRandomCase(query: Message, random: (count: number) => Uint8Array): Message {
  const [question] = query.questions
  if (question === undefined) return query
  const bits = random(question.name.length)
  const cased = [...question.name].map((char, i) => ((bits[i] ?? 0) & 1 ? char.toUpperCase() : char.toLowerCase()))
  return { ...query, questions: [{ ...question, name: cased.join('') as string as Name }] }
}

function sameCase(reply: Message, query: Message): boolean {
  return reply.questions.length === 0 || reply.questions[0]?.name === query.questions[0]?.name
}

function unreachable({ address, port }: Upstream, cause: Error): AppError {
  return new AppError('ERR_DNS_NETWORK', `can't ask upstream ${address} port ${port}: ${cause.message}`, { cause })
}
