import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { parseNetworkName, parseNodeName } from '../../core/model/ids.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { decideCreateNetwork } from '../../core/master/networks/networks.ts'
import { profileOf } from '../../core/master/networks/profile.ts'
import { startAgent, startMaster, startNode, until } from '../support/master.ts'

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** Octets from a fixed generator, so that a failure can be repeated. */
function noise(length: number, seed: number): Buffer {
  let state = seed
  return Buffer.from(
    Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state >>> 24
    }),
  )
}

/** Sends octets and waits until the other side closes, or `holdMs` is over, then resets. */
async function throwAt(port: number, chunks: readonly (Buffer | string)[]): Promise<void> {
  const socket: Socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.resume()
  for (const chunk of chunks) socket.write(chunk)
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 50))])
  socket.resetAndDestroy()
}

/** One gRPC request on `path` with the body; ends the body, or cuts the connection in the middle. */
async function request(port: number, path: string, body: Buffer, how: 'end' | 'cut'): Promise<void> {
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => undefined)
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => undefined)
  stream.resume()
  stream.write(body)
  const over = new Promise((resolve) => stream.once('close', resolve))
  if (how === 'end') stream.end()
  else setTimeout(() => session.destroy(), 5)
  await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 200))])
  session.destroy()
}

/** A gRPC frame: not compressed, the length as told. */
function frame(payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, payload])
}

t.test('garbage and broken streams on the gRPC port', async (t) => {
  const master = await startMaster(openMemoryStore())
  t.teardown(() => master.crash())
  const { port } = master.grpc
  for (let seed = 1; seed <= 20; seed++) await throwAt(port, [noise(700, seed)])
  for (let seed = 1; seed <= 20; seed++) await throwAt(port, [preface, noise(300, seed)])
  await throwAt(port, ['GET / HTTP/1.1\r\n\r\n'])
  const paths = ['/weft.v1.Agents/Session', '/weft.v1.Nodes/Subscribe', '/weft.v1.None/Such']
  const bodies = [
    noise(40, 3),
    frame(noise(40, 4)),
    frame(Buffer.from([10, 200, 1])), // a Register of 200 octets that has none
    frame(Buffer.from([10, 0]), 4_000_000_000), // a frame that never comes
    frame(Buffer.alloc(0)),
    frame(Buffer.from([10, 0])), // an empty Register, an empty Hello
    Buffer.from([0, 0]),
  ]
  for (const path of paths) {
    for (const body of bodies) {
      await request(port, path, body, 'end')
      await request(port, path, body, 'cut')
    }
  }
  const agent = startAgent({ name: 'node1', address: master.address })
  const node = startNode('node1', master.address)
  t.teardown(() => Promise.all([agent.stop(), node.stop()]))
  await until(() => agent.registrations() === 1 && node.snapshot().nodes.size === 2, 'service as before')
  t.equal(master.context.registrar.state.nodes.size, 2, 'nothing was registered by accident')
})

t.test('a node resumes after what it has, and gets all of it when that is too old', async (t) => {
  const master = await startMaster(openMemoryStore())
  const { registrar, keeper } = master.context
  const first = startNode('node1', master.address)
  t.teardown(() => master.crash())
  await until(() => first.snapshot().nodes.size === 2, 'the first snapshot')
  await first.stop()
  const had = first.snapshot()
  await registrar.apply(decideCreateNetwork(profileOf('default'), { name: parseNetworkName('later') }))
  keeper.flush()
  const cases = [
    { name: 'recent', from: had, kind: 'delta' },
    { name: 'nothing', from: emptySnapshot, kind: 'full' },
    { name: 'of another history', from: { ...had, version: 0x7fff }, kind: 'full' },
  ]
  for (const { name, from, kind } of cases) {
    const node = startNode('node1', master.address, { from })
    await until(() => node.snapshot().networks.size === 3, name)
    t.equal(node.kinds[0], kind, name)
    t.same(node.snapshot(), keeper.view(), `${name}: the same in the end`)
    await node.stop()
  }
})

t.test('clients go on to the next master; convergence says who is missing', async (t) => {
  const dead = await startMaster(openMemoryStore())
  await dead.crash()
  const master = await startMaster(openMemoryStore())
  const address = `${dead.address},${master.address}`
  const agent = startAgent({ name: 'node2', address })
  let held = false
  const node = startNode('node1', address, { held: () => held })
  const second = startNode('node2', address)
  t.teardown(async () => {
    await Promise.all([node.stop(), second.stop(), agent.stop()])
    await master.crash()
  })
  await until(() => node.snapshot().nodes.size === 3 && second.snapshot().nodes.size === 3, 'everyone')
  await until(() => agent.registrations() === 1, 'the agent')
  const { progress, keeper, registrar } = master.context
  const { signal } = new AbortController()
  t.match(await progress.wait(keeper.flush(), { timeoutMs: 20_000, signal }), { converged: true })
  t.equal(progress.of(parseNodeName('node1')).appliedVersion, keeper.version())

  held = true
  await registrar.apply(decideCreateNetwork(profileOf('default'), { name: parseNetworkName('later') }))
  const version = keeper.flush()
  await until(() => node.snapshot().version === version, 'the new version')
  await until(() => progress.of(parseNodeName('node2')).appliedVersion === version, 'the other one')
  t.match(await progress.wait(version, { timeoutMs: 1, signal }), { converged: false, missing: [{ node: 'node1' }] })
  const waiting = progress.wait(version, { timeoutMs: 20_000, signal })
  node.ack(version, 'nft said no')
  await until(() => progress.of(parseNodeName('node1')).problem !== undefined, 'the problem')
  t.match(progress.check(version), { missing: [{ node: 'node1', problem: 'nft said no' }] })
  const health = { warnings: ['the path to node node2 is narrow'], repairs: { overlay: 2 } }
  node.ack(version, undefined, health)
  t.match(await waiting, { converged: true, missing: [], warned: [{ node: 'node1', warnings: health.warnings }] })
  t.same(progress.of(parseNodeName('node1')).health, health)
  node.ack(version)
  await until(() => progress.check(version).warned === undefined, 'the end of the warning')

  t.match(progress.check(version + 1), { converged: false }, 'a version that is not there yet')
  const aborter = new AbortController()
  const abandoned = t.rejects(progress.wait(version + 1, { timeoutMs: 20_000, signal: aborter.signal }), {
    name: 'AbortError',
  })
  aborter.abort()
  await abandoned
})
