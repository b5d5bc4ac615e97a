import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { silentLog } from '../../core/base/log.ts'
import { type CniAnswer, type CniCall, encodeCall } from '../../networking/node/cni-frame.ts'
import { delQueueOf, drainDelQueue } from '../../networking/node/cni-queue.ts'
import { type CniHandler, openCniServer } from '../../networking/node/cni-server.ts'
import { buildClients, callPlugin } from '../support/cni-node.ts'

const directory = mkdtempSync(join(tmpdir(), 'wft-client-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

const attachment = { CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/netns/x' }
const { signal } = new AbortController()
let counter = 0
const freshSocket = () => join(directory, `run${counter++}`, 'net.sock')

const serve = async (
  t: { teardown(fn: () => unknown): void },
  socketPath: string,
  answer: CniHandler | CniAnswer = { exitCode: 0, stdout: '{}\n' },
) => {
  const calls: CniCall[] = []
  const handler: CniHandler = async (call, options) => {
    calls.push(call)
    return typeof answer === 'function' ? answer(call, options) : answer
  }
  const server = await openCniServer({ socketPath, handler, log: silentLog, idleTimeoutMs: 300 })
  t.teardown(() => server.close())
  return { calls, server }
}

for (const [name, client] of buildClients(directory)) {
  const ask = (CNI_COMMAND: string, input: object | string, more: Readonly<Record<string, string>> = {}) =>
    callPlugin(client, { CNI_COMMAND, ...attachment, ...more }, input)

  t.test(`${name}: hands all over and prints what comes back`, async (t) => {
    const socket = freshSocket()
    const answer = { exitCode: 7, stdout: `{"a":"${'é'.repeat(50_000)}"}\n` }
    const { calls } = await serve(t, socket, answer)
    const input = JSON.stringify({
      prevResult: { socket: '/wrong', deep: ['"', { socket: 'x' }] },
      socket,
      text: 'ü"\\',
    })
    const outcome = await ask('ADD', input, { SECRET: 'x', CNI_ARGS: 'A=1;B=ä' })
    t.equal(outcome.exitCode, 7)
    t.equal(outcome.stdout, answer.stdout)
    t.same(calls, [{ env: { CNI_COMMAND: 'ADD', ...attachment, CNI_ARGS: 'A=1;B=ä' }, stdin: input }])
    t.equal((await ask('ADD', '{"no":"socket"}', { WEFT_CNI_SOCKET: socket })).exitCode, 7)
    t.equal((await ask('ADD', JSON.stringify({ socket }), { WEFT_CNI_SOCKET: '/nonexistent/s' })).exitCode, 7)
  })

  t.test(`${name}: VERSION needs no daemon`, async (t) => {
    const cases: readonly (readonly [string, string])[] = [
      ['', '1.1.0'],
      ['not JSON', '1.1.0'],
      ['{"cniVersion":"0.4.0"}', '0.4.0'],
      ['{"cniVersion":"9.9.9","x":{"cniVersion":"1.0.0"}}', '9.9.9'],
    ]
    for (const [input, cniVersion] of cases) {
      const { exitCode, answer } = await callPlugin(client, { CNI_COMMAND: 'VERSION', CNI_ARGS: 'dummy' }, input)
      t.match({ exitCode, answer }, { exitCode: 0, answer: { cniVersion, supportedVersions: /1\.0\.0/ } }, input)
    }
  })

  t.test(`${name}: without a daemon`, async (t) => {
    const socket = freshSocket()
    const input = { cniVersion: '1.0.0', socket }
    const cases: readonly (readonly [string, number])[] = [
      ['ADD', 11],
      ['CHECK', 11],
      ['GC', 11],
      ['STATUS', 50],
    ]
    for (const [command, code] of cases) {
      const { exitCode, answer } = await ask(command, input)
      t.match({ exitCode, answer }, { exitCode: 1, answer: { cniVersion: '1.0.0', code, msg: /weft net/ } }, command)
    }
    t.match(await callPlugin(client, {}, input), { exitCode: 1, answer: { code: 4, msg: /CNI_COMMAND/ } })
    const long = { ...input, padding: 'x'.repeat(1 << 20) }
    t.match(await ask('ADD', long), { exitCode: 1, answer: { code: 6, msg: /1 MiB/ } })
    const far = { ...input, socket: `/tmp/${'x'.repeat(200)}/net.sock` }
    t.match(await ask('ADD', far), { exitCode: 1, answer: { code: 11 } })
    t.notOk(existsSync(dirname(socket)), 'only DEL leaves something behind')
  })

  t.test(`${name}: DEL is kept on disk, and performed at the next start`, async (t) => {
    const socket = freshSocket()
    const input = { cniVersion: '1.0.0', name: 'dcos', socket }
    for (const id of ['c1', 'c2', 'c3']) {
      const { exitCode, stdout } = await ask('DEL', input, { CNI_CONTAINERID: id })
      t.same({ exitCode, stdout }, { exitCode: 0, stdout: '' })
    }
    const queue = delQueueOf(socket)
    t.equal(statSync(queue).mode & 0o777, 0o700)
    t.equal(readdirSync(queue).filter((file) => /^\d{29}-\d+\.del$/.test(file)).length, 3)
    writeFileSync(join(queue, '0.del'), 'garbage')
    writeFileSync(join(queue, '1.del'), encodeCall({ env: { CNI_COMMAND: 'ADD' }, stdin: '' }).subarray(4))
    writeFileSync(join(queue, '2.del'), '')
    const seen: CniCall[] = []
    const handler: CniHandler = async (call) => {
      seen.push(call)
      if (call.env['CNI_CONTAINERID'] === 'c2') return { exitCode: 1, stdout: '{"code":11,"msg":"busy"}' }
      if (call.env['CNI_CONTAINERID'] === 'c3') return { exitCode: 1, stdout: '{"code":7,"msg":"wrong"}' }
      return { exitCode: 0, stdout: '' }
    }
    t.same(await drainDelQueue({ socketPath: socket, handler, log: silentLog }, { signal }), { done: 1, kept: 1 })
    t.same(
      seen.map(({ env }) => env['CNI_CONTAINERID']),
      ['c1', 'c2', 'c3'],
    )
    t.same(
      seen.map(({ stdin }) => JSON.parse(stdin)),
      [input, input, input],
    )
    t.equal(readdirSync(queue).filter((file) => file.endsWith('.bad')).length, 4)
    t.equal(readdirSync(queue).filter((file) => file.endsWith('.del')).length, 1)

    const { calls } = await serve(t, socket)
    t.same(
      calls.map(({ env }) => env['CNI_CONTAINERID']),
      ['c2'],
      'what is left, when it listens',
    )
    t.notOk(readdirSync(queue).some((file) => file.endsWith('.del')))

    const blocked = freshSocket()
    mkdirSync(dirname(blocked))
    writeFileSync(delQueueOf(blocked), 'in the way')
    t.match(await ask('DEL', { socket: blocked }), { exitCode: 1, answer: { code: 5 } })
  })

  t.test(`${name}: a daemon that ends in the middle`, async (t) => {
    const socket = freshSocket()
    mkdirSync(dirname(socket))
    for (const partial of [Buffer.alloc(0), Buffer.from([0, 0]), Buffer.from([0, 0, 0, 9, 0, 0x7b])]) {
      const server = createServer((connection) => connection.once('data', () => connection.end(partial)))
      await new Promise<void>((resolve) => server.listen(socket, resolve))
      const added = await ask('ADD', { socket })
      const deleted = await ask('DEL', { socket })
      await new Promise<void>((resolve) => server.close(() => resolve()))
      t.match(added, { exitCode: 1, answer: { code: 11 } })
      t.same(deleted, { exitCode: 0, stdout: '', answer: undefined })
    }
    t.equal(readdirSync(delQueueOf(socket)).length, 3)
  })

  t.test(`${name}: long and odd input`, async (t) => {
    const socket = freshSocket()
    await serve(t, socket)
    const { exitCode, answer } = await ask('ADD', { socket }, { CNI_ARGS: 'x'.repeat(100_000) })
    t.same({ exitCode, answer }, { exitCode: 0, answer: {} })
    t.match(await ask('ADD', Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), { WEFT_CNI_SOCKET: socket }), {
      exitCode: 0,
    })
  })
}

t.test('server: hostile connections do no harm', async (t) => {
  const socketPath = freshSocket()
  const { server } = await serve(t, socketPath, async ({ stdin }) => {
    if (stdin === 'boom') throw new Error('boom')
    return { exitCode: 0, stdout: stdin }
  })
  t.equal(statSync(socketPath).mode & 0o777, 0o600)
  const good = encodeCall({ env: { A: '1' }, stdin: 'fine' })
  const cases: readonly { readonly name: string; readonly bytes: Buffer; readonly reply: RegExp }[] = [
    { name: 'well-formed', bytes: good, reply: /fine$/ },
    { name: 'well-formed, and more', bytes: Buffer.concat([good, Buffer.alloc(1000)]), reply: /fine$/ },
    { name: 'absurd length', bytes: Buffer.from('ffffffff00', 'hex'), reply: /"code":6.*1048576/ },
    { name: 'a web browser', bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n'), reply: /"code":6/ },
    { name: 'empty frame', bytes: Buffer.alloc(4), reply: /"code":6.*4 octets/ },
    { name: 'environment too long', bytes: Buffer.from('0000000500000009aa', 'hex'), reply: /"code":6/ },
    { name: 'variable without end', bytes: Buffer.from('000000050000000141', 'hex'), reply: /"code":6.*no end/ },
    { name: 'not UTF-8', bytes: Buffer.from('0000000500000000ff', 'hex'), reply: /"code":6.*UTF-8/ },
    { name: 'handler throws', bytes: encodeCall({ env: {}, stdin: 'boom' }), reply: /"code":999.*boom/ },
    { name: 'unfinished', bytes: good.subarray(0, 9), reply: /^$/ },
    { name: 'nothing', bytes: Buffer.alloc(0), reply: /^$/ },
  ]
  const talk = (bytes: Buffer) =>
    new Promise<string>((resolve) => {
      const chunks: Buffer[] = []
      const socket = createConnection(socketPath, () => socket.write(bytes))
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('error', () => undefined) // EPIPE, ECONNRESET: how the server ends a bad one
      socket.on('close', () => resolve(Buffer.concat(chunks).toString()))
    })
  const replies = await Promise.all(cases.map(({ bytes }) => talk(bytes)))
  for (const [i, { name, reply }] of cases.entries()) t.match(replies[i], reply, name)
  const octets = Array.from(good, (octet) => Buffer.from([octet]))
  const slow = createConnection(socketPath)
  const answered = new Promise<string>((resolve) => slow.once('data', (chunk: Buffer) => resolve(chunk.toString())))
  for (const octet of octets) slow.write(octet)
  t.match(await answered, /fine$/, 'one octet at a time')
  slow.destroy()

  await t.rejects(openCniServer({ socketPath, handler: async () => ({ exitCode: 0, stdout: '' }), log: silentLog }), {
    code: 'ERR_CNI_SERVER_RUNNING',
  })
  await server.close()
  t.notOk(existsSync(socketPath))
  writeFileSync(socketPath, 'a file')
  await t.rejects(openCniServer({ socketPath, handler: async () => ({ exitCode: 0, stdout: '' }), log: silentLog }), {
    code: 'ERR_CNI_SERVER',
  })
  t.equal(readFileSync(socketPath, 'utf8'), 'a file')
})
