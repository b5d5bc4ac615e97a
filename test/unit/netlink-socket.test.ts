import t from 'tap'
import { type AppError } from '../../core/base/errors.ts'
import { u32 } from '../../networking/netlink/codec.ts'
import { type NetlinkRequest } from '../../networking/netlink/message.ts'
import { type NetlinkPort } from '../../networking/netlink/port.ts'
import { socketOver } from '../../networking/netlink/socket.ts'
import { Writer } from '../../networking/netlink/writer.ts'

const ENOBUFS = 105
const EAGAIN = 11
const EEXIST = 17
const types = { error: 2, done: 3, object: 16 }
const DUMP_INTR = 0x10

/** What the fake kernel answers: a message for the request at `index` of the last send, or an error of receive(). */
type Answer =
  | { readonly index: number; readonly type: number; readonly flags?: number; readonly errno?: number }
  | { readonly receiveErrno: number }

/** A port whose kernel answers the n-th send with the n-th script. */
function fakePort(scripts: readonly (readonly Answer[])[]): { readonly port: NetlinkPort; readonly sent: number[][] } {
  const sent: number[][] = []
  let queue: Answer[] = []
  let next = 0
  const send = (_fd: number, bytes: Uint8Array, length: number) => {
    const view = Buffer.from(bytes.subarray(0, length))
    const sequences: number[] = []
    for (let at = 0; at < length; at += view.readUInt32LE(at)) sequences.push(view.readUInt32LE(at + 8))
    sent.push(sequences)
    queue = [...(scripts[next++] ?? [])]
    return 0
  }
  const receive = (_fd: number, buffer: Uint8Array) => {
    const answer = queue.shift()
    if (answer === undefined) return -EAGAIN
    if ('receiveErrno' in answer) return -answer.receiveErrno
    const bytes = Buffer.alloc(answer.type === types.object ? 16 : 36)
    bytes.writeUInt32LE(bytes.length, 0)
    bytes.writeUInt16LE(answer.type, 4)
    bytes.writeUInt16LE(answer.flags ?? 0, 6)
    bytes.writeUInt32LE(sent.at(-1)?.[answer.index] ?? 0, 8)
    if (answer.type !== types.object) bytes.writeInt32LE(-(answer.errno ?? 0), 16)
    buffer.set(bytes)
    return bytes.length
  }
  let sequence = 0xffff_fffd // wraps within the tests
  const port: NetlinkPort = {
    fd: -1,
    native: {
      sockets: {
        socket: () => -1,
        bind: () => undefined,
        setsockopt: () => 0,
        send,
        sendElsewhere: async () => 0,
        receive,
        duplicate: () => -1,
      },
      namespaces: {
        setns: () => undefined,
        namespaceType: () => 0,
        unshare: () => undefined,
        mount: () => undefined,
        unmount: () => undefined,
      },
      onReadable: () => () => undefined,
    },
    writer: new Writer(64),
    receiveBuffer: Buffer.alloc(4096),
    maxOutstanding: 4,
    nextSequence: () => {
      sequence = (sequence + 1) >>> 0
      return sequence
    },
    close: () => undefined,
  }
  return { port, sent }
}

const request: NetlinkRequest = {
  type: types.object,
  flags: 0,
  write: (writer) => u32.write(writer, 7),
  describe: () => 'ip thing',
}

const object = { index: 0, type: types.object }
const end = { index: 0, type: types.done }

function dumpCount(scripts: readonly (readonly Answer[])[]): { readonly objects: number; readonly sends: number } {
  const { port, sent } = fakePort(scripts)
  let objects = 0
  socketOver(port).dump(request, {
    restart: () => {
      objects = 0
    },
    visit: () => objects++,
  })
  return { objects, sends: sent.length }
}

t.test('a dump begins again when the kernel interrupted it or lost a part', async (t) => {
  const whole = [object, object, object, end]
  t.same(dumpCount([whole]), { objects: 3, sends: 1 })
  t.same(dumpCount([[object, { ...object, flags: DUMP_INTR }, end], whole]), { objects: 3, sends: 2 })
  t.same(dumpCount([[object, { ...end, flags: DUMP_INTR }], whole]), { objects: 3, sends: 2 })
  t.same(dumpCount([[object, { receiveErrno: ENOBUFS }, end], whole]), { objects: 3, sends: 2 })
})

t.test('a dump gives up in the end, and says why', async (t) => {
  const interrupted = [{ ...object, flags: DUMP_INTR }, end]
  t.throws(() => dumpCount(Array.from({ length: 10 }, () => interrupted)), { code: 'ERR_NETLINK_DUMP_INTERRUPTED' })
  t.throws(() => dumpCount([[object]]), { code: 'ERR_NETLINK_INCOMPLETE' })
  t.throws(() => dumpCount([[{ ...end, errno: 1 }]]), { code: 'ERR_NETLINK_EPERM', message: /^ip thing: .*root/ })
})

/** @returns codes by position, and how many requests each send had */
function batch(count: number, scripts: readonly (readonly Answer[])[]) {
  const { port, sent } = fakePort(scripts)
  const errors: Record<number, string> = {}
  const requests = socketOver(port).batch((position: number, { code }: AppError) => {
    errors[position] = code
  })
  for (let position = 0; position < count; position++) requests.add(request, position)
  requests.flush()
  return { errors, sends: sent.map(({ length }) => length) }
}

const acked = (index: number, errno = 0) => ({ index, type: types.error, errno })

t.test('a batch reports what was refused, and what is unknown', async (t) => {
  t.same(batch(0, []), { errors: {}, sends: [] })
  t.same(batch(3, [[acked(2)]]), { errors: {}, sends: [3] })
  t.same(batch(6, [[acked(3)], [acked(1)]]), { errors: {}, sends: [4, 2] })
  t.same(batch(3, [[acked(1, EEXIST), acked(2)]]).errors, { 1: 'ERR_NETLINK_EEXIST' })
  t.same(batch(3, [[acked(0, EEXIST), acked(2, EEXIST)]]).errors, { 0: 'ERR_NETLINK_EEXIST', 2: 'ERR_NETLINK_EEXIST' })
  const lost = [acked(0, EEXIST), { receiveErrno: ENOBUFS }, acked(2)]
  t.same(batch(3, [lost]).errors, { 0: 'ERR_NETLINK_EEXIST', 1: 'ERR_NETLINK_ENOBUFS', 2: 'ERR_NETLINK_ENOBUFS' })
  t.same(batch(2, [[]]).errors, { 0: 'ERR_NETLINK_ENOBUFS', 1: 'ERR_NETLINK_ENOBUFS' })
})

t.test('a value that does not fit fails alone', async (t) => {
  const { port, sent } = fakePort([[acked(1)]])
  const errors: Record<number, string> = {}
  const requests = socketOver(port).batch((position, { code }) => {
    errors[position] = code
  })
  requests.add(request, 0)
  requests.add({ ...request, write: (writer) => u32.write(writer, 2 ** 40) }, 1)
  requests.add(request, 2)
  requests.flush()
  t.same(errors, { 1: 'ERR_NETLINK_VALUE' })
  t.same(
    sent.map(({ length }) => length),
    [2],
  )
})
