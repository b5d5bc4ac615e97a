import { readFileSync } from 'node:fs'
import t from 'tap'
import { hasCode } from '../../core/base/errors.ts'
import { addressShape, decodeAddress } from '../../networking/netlink/address.ts'
import { kernelError } from '../../networking/netlink/errors.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'
import { decodeLink, linkShape } from '../../networking/netlink/link.ts'
import {
  decodeAcknowledgement,
  decodeBody,
  eachMessage,
  type Message,
  NLM_F_ACK,
  requestAck,
  writeBody,
  writeMessage,
} from '../../networking/netlink/message.ts'
import { decodeNeighbour, neighbourShape } from '../../networking/netlink/neighbour.ts'
import { decodeNexthop, nexthopShape } from '../../networking/netlink/nexthop.ts'
import { routeOpRequest } from '../../networking/netlink/route-op.ts'
import { decodeRoute, routeShape } from '../../networking/netlink/route.ts'
import { Writer } from '../../networking/netlink/writer.ts'
import { linkOps, routeOps } from '../fixtures/netlink/ops.ts'

interface Vectors {
  readonly requests: readonly { readonly command: string; readonly hex: string }[]
  readonly replies: readonly { readonly command: string; readonly hex: readonly string[] }[]
  readonly refusals: readonly { readonly command: string; readonly hex: string }[]
}

// Recorded by test/fixtures/netlink/capture.ts: what strace saw of iproute2 6.1 on Linux 6.18.
const vectors: Vectors = JSON.parse(readFileSync(new URL('../fixtures/netlink/vectors.json', import.meta.url), 'utf8'))

const indexes: Readonly<Record<string, number>> = { lo: 1, dev1: 2, dev0: 3, vx0: 4, va: 6 }

function messages(hex: string): readonly Message[] {
  const found: Message[] = []
  const bytes = Buffer.from(hex, 'hex')
  eachMessage(bytes, bytes.length, (message) => found.push(message))
  return found
}

function requestHex(command: string): string {
  const vector = vectors.requests.find((candidate) => candidate.command === command)
  if (vector === undefined) throw new Error(`no vector for "${command}"`)
  return vector.hex
}

t.test('an op prints as the command and encodes to the octets that the command sent', async (t) => {
  for (const op of [...linkOps, ...routeOps]) {
    const command = formatRouteOp(op).replace('/proc/self/fd/4', '/proc/self/ns/net')
    const hex = requestHex(command)
    const writer = new Writer(8) // small, so that it has to grow
    const sequence = Buffer.from(hex, 'hex').readUInt32LE(8)
    writeMessage(
      writer,
      routeOpRequest(op, (device) => indexes[device] ?? 0),
      () => sequence,
    )
    requestAck(writer, 0)
    t.equal(writer.copy().toString('hex'), op.kind === 'route.del' ? withType(hex, 1) : hex, command)
  }
})

/** `ip route del` without a type removes a route of any type; the op only one of its own. */
function withType(hex: string, type: number): string {
  const bytes = Buffer.from(hex, 'hex')
  bytes[23] = type // rtmsg.rtm_type
  return bytes.toString('hex')
}

t.test('links are set and removed by name where ip uses the index; the rest is the same', async (t) => {
  const cases = [
    { op: { kind: 'link.set', name: 'dev1', change: { state: 'up', mtuBytes: 1450 } }, flags: 1, index: 2 },
    { op: { kind: 'link.set', name: 'vz', change: { masterIndex: 1 } }, flags: 0, index: 6 },
    { op: { kind: 'link.set', name: 'vz', change: { group: 7 } }, flags: 0, index: 6 },
    { op: { kind: 'link.del', name: 'br1' }, flags: 0, index: 9 },
  ] as const
  for (const { op, flags, index } of cases) {
    const [theirs] = messages(requestHex(formatRouteOp(op)))
    if (theirs === undefined) throw new Error('no message')
    const writer = new Writer()
    writeMessage(
      writer,
      routeOpRequest(op, () => 0),
      () => 1,
    )
    const [ours] = messages(writer.copy().toString('hex'))
    if (ours === undefined) throw new Error('no message')
    t.equal(ours.type, theirs.type)
    t.equal(ours.flags | NLM_F_ACK, theirs.flags)
    const { header, attrs } = decodeBody(linkShape, theirs)
    t.same(header, { family: 0, type: 0, index, flags, change: flags })
    t.same(decodeBody(linkShape, ours), { header: { ...header, index: 0 }, attrs: { ...attrs, name: op.name } })
  }
})

const shapes = new Map<number, Parameters<typeof decodeBody>[0]>([
  [16, linkShape],
  [20, addressShape],
  [24, routeShape],
  [28, neighbourShape],
  [104, nexthopShape],
])

t.test('every request survives decoding and encoding, octet by octet', async (t) => {
  for (const { command, hex } of vectors.requests) {
    for (const message of messages(hex)) {
      const shape = shapes.get(message.type & ~3)
      if (shape === undefined) throw new Error(`no shape for ${message.type}`)
      const writer = new Writer()
      writeBody(writer, shape, decodeBody(shape, message))
      t.equal(writer.copy().toString('hex'), hex.slice(32), command)
    }
  }
})

t.test('a reply keeps what no table names', async (t) => {
  const [link] = messages(replyOf('ip link show dev vx0').at(-1) ?? '')
  if (link === undefined) throw new Error('no message')
  const body = decodeBody(linkShape, link)
  t.ok((body.attrs.unknown?.length ?? 0) > 10)
  const writer = new Writer()
  writeBody(writer, linkShape, body)
  const again = { buffer: writer.buffer, start: 0, end: writer.length }
  t.equal(again.end, link.end - link.start)
  t.same(decodeBody(linkShape, again), body)
})

function replyOf(command: string): readonly string[] {
  const vector = vectors.replies.find((candidate) => candidate.command === command)
  if (vector === undefined) throw new Error(`no vector for "${command}"`)
  return vector.hex
}

function decodedReplies<T>(command: string, type: number, decode: (message: Message) => T): readonly T[] {
  return replyOf(command)
    .flatMap(messages)
    .filter((message) => message.type === type)
    .map(decode)
}

t.test('replies', async (t) => {
  t.same(decodedReplies('ip link show dev vx0', 16, decodeLink), [
    {
      index: 4,
      name: 'vx0',
      type: 'vxlan',
      up: true,
      mtuBytes: 1450,
      mac: '02:00:00:00:00:f0',
      masterIndex: 0,
      group: 0,
      vxlan: { vni: 7, local: '10.1.0.1', udpPort: 64000, learning: false, deviceIndex: 3 },
    },
  ])
  t.same(decodedReplies('ip neighbour show dev dev0', 28, decodeNeighbour), [
    { index: 3, address: 'ff02::16', mac: '33:33:00:00:00:16', permanent: false, bridge: false },
    { index: 3, address: 'fd00:1::9', mac: '02:00:00:00:00:09', permanent: true, bridge: false },
  ])
  t.same(decodedReplies('bridge fdb show dev vx0', 28, decodeNeighbour), [
    { index: 4, destination: '10.1.0.7', mac: '02:00:00:00:00:07', permanent: true, bridge: true },
  ])
  t.same(decodedReplies('ip nexthop show', 104, decodeNexthop), [
    { index: 3, id: 5, family: 4, gateway: '10.1.0.7', onlink: true, protocol: 87 },
    { index: 3, id: 6, family: 6, gateway: 'fd00:1::7', protocol: 87 },
    { index: 3, id: 7, family: 6, protocol: 87 },
  ])
  t.same(decodedReplies('ip address show dev dev0', 20, decodeAddress), [
    { index: 3, address: '10.1.0.1', prefixLength: 24 },
    { index: 3, address: 'fd00:1::1', prefixLength: 64 },
    { index: 3, address: 'fd00:1::2', prefixLength: 64 },
    { index: 3, address: 'fe80::ff:fe00:d0', prefixLength: 64 },
  ])
})

t.test('routes come back in the form in which they were asked for', async (t) => {
  const common = { type: 'unicast', protocol: 87, table: 254 } as const
  t.same(decodedReplies('ip -4 route show table all protocol 87', 24, decodeRoute), [
    { ...common, destination: '0.0.0.0/0', gateway: '10.1.0.7', deviceIndex: 3, table: 1000 },
    { ...common, destination: '10.2.0.0/24', nexthopId: 5, mtuBytes: 1400 },
    {
      ...common,
      destination: '10.3.0.0/24',
      gateway: '10.1.0.7',
      deviceIndex: 3,
      onlink: true,
      preferredSource: '10.1.0.1',
      metric: 10,
    },
    { ...common, destination: '10.5.0.0/16', type: 'unreachable' },
    { ...common, destination: '10.6.0.0/24', gateway: 'fd00:1::7', deviceIndex: 3 },
    { ...common, destination: '100.96.0.1/32', type: 'local', deviceIndex: 1, table: 255 },
  ])
  t.same(decodedReplies('ip -6 route show table all protocol 87', 24, decodeRoute), [
    { ...common, destination: 'fd02::/64', gateway: 'fd00:1::7', deviceIndex: 3 },
    { ...common, destination: 'fd03::/64', type: 'blackhole', metric: 5 },
    { ...common, destination: '::/0', deviceIndex: 3 },
  ])
})

t.test('refusals carry errno, the kernel’s text and the place', async (t) => {
  const details = vectors.refusals.map(({ command, hex }) => {
    const [message] = messages(hex)
    if (message === undefined) throw new Error('no message')
    const { code, details } = kernelError(decodeAcknowledgement(message), command)
    return { code, ...details }
  })
  t.match(details, [
    { code: 'ERR_NETLINK_EEXIST', errno: 'EEXIST', command: 'ip link add dev0 type dummyx' },
    { code: 'ERR_NETLINK_ENETUNREACH', extendedAck: 'Nexthop has invalid gateway' },
    { code: 'ERR_NETLINK_EOPNOTSUPP', errno: 'EOPNOTSUPP', command: 'ip link del dev lo' },
  ])
})

/** Decodes everything in the octets, as a receiver would. @returns the code of the refusal, or undefined */
function refusal(bytes: Buffer): unknown {
  try {
    eachMessage(bytes, bytes.length, (message) => {
      if (message.type === 2) decodeAcknowledgement(message)
      const shape = shapes.get(message.type & ~3)
      if (shape !== undefined) decodeBody(shape, message)
      if (shape === linkShape) decodeLink(message)
      if (shape === routeShape) decodeRoute(message)
    })
    return undefined
  } catch (error) {
    if (!hasCode(error, 'ERR_NETLINK_MALFORMED')) throw error
    return error
  }
}

t.test('malformed lengths are refused with their place', async (t) => {
  const route = requestHex('ip route replace 10.4.0.1/32 dev dev0 protocol 87')
  const cases = [
    { name: 'cut header', hex: route.slice(0, 20), offset: 0 },
    { name: 'message longer than the datagram', hex: `ff${route.slice(2)}`, offset: 0 },
    { name: 'message shorter than its header', hex: `0f${route.slice(2)}`, offset: 0 },
    { name: 'body shorter than rtmsg', hex: `1a${route.slice(2, 52)}`, offset: 16 },
    { name: 'attribute longer than the message', hex: `${route.slice(0, 56)}ff${route.slice(58)}`, offset: 28 },
    { name: 'attribute length 3', hex: `${route.slice(0, 56)}03${route.slice(58)}`, offset: 28 },
    { name: 'second attribute of 3 octets', hex: `${route.slice(0, 72)}07${route.slice(74)}`, offset: 40 },
  ]
  for (const { name, hex, offset } of cases) t.match(refusal(Buffer.from(hex, 'hex')), { details: { offset } }, name)
})

t.test('no damage makes a decoder do anything but refuse', async (t) => {
  const all = [...vectors.requests, ...vectors.refusals]
    .map(({ hex }) => hex)
    .concat(...vectors.replies.map(({ hex }) => hex))
  let refused = 0
  for (const hex of all) {
    const whole = Buffer.from(hex, 'hex')
    for (let at = 0; at < Math.min(whole.length, 400); at++) {
      if (refusal(whole.subarray(0, at)) !== undefined) refused++
      for (const value of [0, 1, 0x7f, 0xff]) {
        const damaged = Buffer.from(whole)
        damaged[at] = value
        if (refusal(damaged) !== undefined) refused++
      }
    }
  }
  t.ok(refused > 1000, `${refused} refusals`)
})
