import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { parseIp } from '../../core/base/ip.ts'
import { decodeMessage, encodeMessage, type Message } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { type Upstream } from '../../discovery/proxy/config.ts'
import { frame, makeFrameSplitter } from '../../discovery/server/frames.ts'

/** What a pretended resolver says; `undefined`: nothing. Several: all are sent, in that order. */
export type Behave = (
  query: Message,
  transport: 'udp' | 'tcp',
) => readonly Message[] | undefined | Promise<readonly Message[] | undefined>

/** A resolver on loopback that behaves as told, and counts. */
export interface FakeUpstream extends Upstream {
  readonly asked: () => number
  close(): void
}

/** Opens one; UDP and TCP share the port. */
export async function openUpstream(behave: Behave): Promise<FakeUpstream> {
  let asked = 0
  const server = createServer()
  const socket = await listen(server)
  const { port } = socket.address()
  const bytesOf = (message: Message) => encodeMessage(message, { limitBytes: 65535 })
  socket.on('message', async (packet, from) => {
    asked++
    for (const reply of (await behave(decodeMessage(packet), 'udp')) ?? []) {
      socket.send(bytesOf(reply), from.port, from.address)
    }
  })
  server.on('connection', (connection) => {
    const splitter = makeFrameSplitter()
    connection.on('error', () => undefined)
    connection.on('data', async (chunk) => {
      for (const packet of splitter.push(chunk)) {
        for (const reply of (await behave(decodeMessage(packet), 'tcp')) ?? []) connection.write(frame(bytesOf(reply)))
      }
    })
  })
  const close = () => {
    socket.close()
    server.close()
  }
  return { address: parseIp('127.0.0.1'), port, asked: () => asked, close }
}

/** Makes the server listen on some port, and opens the socket on the same; another port where something else has it. */
async function listen(server: Server): Promise<Socket> {
  for (let attempt = 1; ; attempt++) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const socket = createSocket('udp4')
    try {
      socket.bind(port, '127.0.0.1')
      await once(socket, 'listening')
      return socket
    } catch (error) {
      socket.close()
      server.close()
      await once(server, 'close')
      if (attempt === 10) throw error
    }
  }
}

/** The query answered with an address. */
export function addressReply(query: Message, address: string, ttlSeconds = 60): Message {
  const [question] = query.questions
  const data = { type: 'A', address: parseIp(address) } as const
  const answers = question === undefined ? [] : [{ name: question.name, class: 1, ttlSeconds, data }]
  return { ...query, response: true, recursionAvailable: true, answers }
}

/** The query answered with a code, and a SOA when it is a denial. */
export function codeReply(query: Message, rcode: number, minimumSeconds = 10): Message {
  const name = parseName('example.com')
  const times = { serial: 1, refreshSeconds: 1, retrySeconds: 1, expireSeconds: 1, minimumSeconds }
  const soa = { name, class: 1, ttlSeconds: 3600, data: { type: 'SOA', mname: name, rname: name, ...times } } as const
  return { ...query, response: true, rcode, authorities: rcode === 2 ? [] : [soa] }
}
