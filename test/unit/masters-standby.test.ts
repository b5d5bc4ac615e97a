import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import { type AddressInfo } from 'node:net'
import t from 'tap'
import { subscribe } from '../../core/api/subscription.ts'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { leaderServices, openGrpcServer } from '../../core/master/grpc/server.ts'
import { openHttpApp, openHttpServer } from '../../core/master/http/server.ts'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { openMaster } from '../../core/master/master.ts'
import { decideCreateNetwork } from '../../core/master/networks/networks.ts'
import { profileOf } from '../../core/master/networks/profile.ts'
import { formatCandidate, parseCandidate } from '../../core/master/standby/candidate.ts'
import { openStandby } from '../../core/master/standby/standby.ts'
import { parseNetworkName, parseNodeName } from '../../core/model/ids.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { type MemoryStore, openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startNode, until } from '../support/master.ts'

const { signal } = new AbortController()

/** A master in this process, as main.ts composes it, on a store that all of them share; it ends as a crash does. */
async function startProcess(store: MemoryStore, index: number) {
  const underlay = parseIp(`127.0.0.10${index}`)
  let answer: Parameters<typeof openHttpServer>[0] = (_request, response) => void response.writeHead(503).end()
  const http = await openHttpServer((...it) => answer(...it), [{ kind: 'address', host: '127.0.0.1', port: 0 }], {
    underlay,
  })
  const published = createServer((request, response) => answer(request, response, 'published')).listen(0, '127.0.0.1')
  await once(published, 'listening')
  const refuse = (call: { end(): void }) => call.end()
  const grpc = await openGrpcServer({ session: refuse, subscribe: refuse }, '127.0.0.1:0')
  const nodeName = parseNodeName(`master${index}`)
  const id = `00000000-0000-4000-8000-00000000000${index}`
  const self = { id, nodeName, underlay, http: http.advertised, grpc: `127.0.0.1:${grpc.port}`, version: '1' }
  const standby = openStandby({
    store,
    self,
    clock: systemClock,
    log: silentLog,
    answerOurselves: (...it) => answer(...it),
  })
  answer = standby.answer
  grpc.serve(standby.services)
  const lead = async () => {
    const leadership = await store.elect(formatCandidate(self), { signal })
    standby.elected()
    const master = await openMaster({
      ...{ store, leadership, masterId: id, nodeName, underlay, http: self.http, clock: systemClock, log: silentLog },
      ...{
        profile: profileOf('default'),
        networks: [parseNetworkName('dcos')],
        random: Math.random,
        soon: setImmediate,
      },
    })
    const { context } = master
    const app = await openHttpApp([masterRoutes({ context, version: '1', advertised: () => self.http })])
    answer = app.handler
    grpc.serve(leaderServices(context))
    standby.lead()
    return { master, leadership }
  }
  const end = async () => {
    standby.close()
    grpc.close()
    published.closeAllConnections()
    published.close()
    await http.close()
  }
  const publishedUrl = `http://127.0.0.1:${(published.address() as AddressInfo).port}`
  return { self, url: `http://${self.http}`, publishedUrl, lead, end }
}

/** Without following redirects. */
async function ask(method: string, url: string) {
  const request = httpRequest(url, { method, agent: false }).end()
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode, location: response.headers.location, text }
}

t.test('a standby serves nodes, sends agents and writes on, and takes over', async (t) => {
  const store = openMemoryStore()
  const [first, second] = [await startProcess(store, 1), await startProcess(store, 2)]
  const waiting = ask('GET', `${second.url}/weft/v1/nodes`) // nobody leads yet
  const led = await first.lead()
  const { context } = led.master
  t.equal((await waiting).status, 200, 'a request waits for a leader')
  const node = startNode('node1', second.self.grpc)
  const agent = startAgent({ name: 'node1', address: second.self.grpc })
  t.teardown(() => Promise.all([node.stop(), agent.stop()]))
  await until(() => agent.registrations() === 1, 'the agent found the leader by the standby')
  await until(() => context.progress.check(context.keeper.version()).converged, 'what it applied reaches the leader')
  t.same(node.snapshot(), context.keeper.view(), 'the same versions by a standby')
  t.same(
    [...node.snapshot().nodes.values()].map(({ name, master }) => [name, master]),
    [
      ['master1', 'leader'],
      ['master2', 'standby'],
      ['node1', undefined],
    ],
  )
  await context.registrar.apply(decideCreateNetwork(context.profile, { name: parseNetworkName('later') }))
  const answer = await context.progress.wait(context.keeper.flush(), { timeoutMs: 10_000, signal })
  t.ok(answer.converged && node.snapshot().networks.has(parseNetworkName('later')), 'deltas too')
  t.same(node.kinds.filter((kind) => kind === 'full').length, 1)

  await t.test('HTTP', async (t) => {
    const cases = [
      { method: 'GET', at: `${second.url}/health`, status: 200, says: /true/ },
      { method: 'GET', at: `${second.url}/metrics`, status: 200, says: /master_leading 0/ },
      { method: 'GET', at: `${second.url}/weft/v1/networks`, status: 200, says: /later/ },
      { method: 'GET', at: `${second.url}/weft/v1/snapshot`, status: 200, says: /"version"/ },
      { method: 'GET', at: `${second.url}/master/state`, status: 200, says: /activated_slaves/ },
      { method: 'GET', at: `${second.url}/nothing`, status: 404, says: /there is no GET/ },
      {
        method: 'POST',
        at: `${second.url}/weft/v1/networks?x=1`,
        status: 307,
        to: `//${first.self.http}/weft/v1/networks?x=1`,
      },
      { method: 'GET', at: `${second.url}/redirect`, status: 307, to: `//${first.self.http}/` },
      { method: 'DELETE', at: `${second.publishedUrl}/weft/v1/networks/absent`, status: 404, says: /absent/ },
    ]
    for (const { method, at, status, says, to } of cases) {
      const seen = await ask(method, at)
      t.equal(seen.status, status, `${method} ${new URL(at).pathname}: ${seen.text.slice(0, 80)}`)
      if (says !== undefined) t.match(seen.text, says)
      if (to !== undefined) t.equal(seen.location, to)
    }
    const followed = await fetch(`${second.url}/weft/v1/networks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"name":"posted"}',
    })
    t.equal(followed.status, 201, 'a client follows with its body')
  })

  await t.test('the leader goes, the standby leads', async (t) => {
    const before = node.snapshot().version
    await led.leadership.resign()
    await first.end()
    const next = await second.lead()
    t.teardown(async () => {
      await second.end()
      await next.master.close()
    })
    const { context: now } = next.master
    await until(() => agent.registrations() === 2, 'the agent is back')
    await until(() => now.progress.check(now.keeper.version()).converged, 'the node is back')
    t.ok(node.snapshot().version > before)
    t.equal(node.snapshot().nodes.get(parseNodeName('master2'))?.master, 'leader')
    t.equal((await ask('GET', `${second.url}/leader`)).text, JSON.stringify({ leader: 'master2', term: 2 }))
  })
  await led.master.close().catch(() => undefined) // ERR_STORE_TERM: it was deposed
})

t.test('a leader whose term is over changes nothing', async (t) => {
  const nothing = { version: 1, networks: [], nodes: [], tasks: [], vips: [], policies: [], frameworks: [] }
  const serve = { session: (call: { end(): void }) => call.end() }
  const grpc = await openGrpcServer(
    { ...serve, subscribe: (call) => void call.write({ body: { $case: 'full', value: nothing }, term: 1 }) },
    '127.0.0.1:0',
  )
  t.teardown(() => grpc.close())
  const hello = { nodeName: 'node1', underlay: '127.0.0.11', standby: false, http: '' }
  const options = { master: `127.0.0.1:${grpc.port}`, hello, onOpen: () => undefined, signal, clock: systemClock }
  const position = { current: { ...emptySnapshot, version: 7 }, resumeAfter: 7, highestTerm: 2 }
  await t.rejects(subscribe(options, position).next(), { code: 'ERR_API_TERM' })
  t.equal(position.current.version, 7)
  await subscribe(options, { ...position, highestTerm: 1 }).next()
})

t.test('who is no candidate of ours is not followed', async (t) => {
  for (const text of ['', '{}', 'master1', '{"id":"x","nodeName":"-"}']) t.equal(parseCandidate(text), undefined, text)
  t.equal(parseCandidate(undefined), undefined)
})
