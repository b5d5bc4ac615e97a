import t from 'tap'
import { parseNodeName } from '../../core/model/ids.ts'
import { type Edns } from '../../discovery/dns/edns.ts'
import { decodeHeader, decodeMessage, encodeMessage, type Message } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { formatRcode, formatRecord, parseType } from '../../discovery/dns/presentation.ts'
import { answer, type AnswerContext } from '../../discovery/server/answer.ts'
import { openZoneStore } from '../../discovery/server/zone-store.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { query } from '../fixtures/dns/messages.ts'
import { seededRandom } from '../fixtures/dns/random.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const { zones } = await fixtureStage()
const limitBytes = 65535
const udp: AnswerContext = { zones, transport: 'udp', rotation: 0, recursion: 'none' }
const tcp: AnswerContext = { ...udp, transport: 'tcp' }

function ask(message: Message, context: AnswerContext = udp): Message & { readonly octets: number } {
  const outcome = answer(encodeMessage(message, { limitBytes }), context)
  if (outcome.kind !== 'reply') throw new Error(`no reply but ${outcome.kind}`)
  return { ...decodeMessage(outcome.bytes), octets: outcome.bytes.length }
}

const edns = (changes: Partial<Edns> = {}): { readonly edns: Edns } => ({
  edns: { udpSizeBytes: 1232, version: 0, dnssecOk: false, options: [], ...changes },
})
const text = (message: Message) => message.answers.map((record) => formatRecord(record).split('\t').slice(3).join(' '))
const soaOwner = (message: Message) => message.authorities.map(({ name, data }) => `${name} ${data.type}`).join()

/** Name, type, rcode, number of answers, owner of the SOA in the authority section. */
const questions: readonly (readonly [string, string, string, number, string])[] = [
  ['web.marathon.mesos', 'A', 'NOERROR', 3, ''],
  ['web.marathon.mesos', 'AAAA', 'NOERROR', 2, ''],
  ['WEB.marathon.MESOS', 'A', 'NOERROR', 3, ''],
  ['web.marathon.mesos', 'TXT', 'NOERROR', 0, 'mesos. SOA'],
  ['web.marathon.mesos', 'SRV', 'NOERROR', 0, 'mesos. SOA'],
  ['web.marathon.mesos', 'TYPE65280', 'NOERROR', 0, 'mesos. SOA'],
  ['web.marathon.mesos', 'ANY', 'NOERROR', 3, ''],
  ['_web._tcp.marathon.mesos', 'SRV', 'NOERROR', 2, ''],
  ['_nope._tcp.marathon.mesos', 'SRV', 'NXDOMAIN', 0, 'mesos. SOA'],
  ['_tcp.marathon.mesos', 'A', 'NOERROR', 0, 'mesos. SOA'],
  ['nope.marathon.mesos', 'A', 'NXDOMAIN', 0, 'mesos. SOA'],
  ['below.web.marathon.mesos', 'A', 'NXDOMAIN', 0, 'mesos. SOA'],
  ['mesos', 'SOA', 'NOERROR', 1, ''],
  ['mesos', 'NS', 'NOERROR', 1, ''],
  ['mesos', 'A', 'NOERROR', 0, 'mesos. SOA'],
  ['mesos', 'ANY', 'NOERROR', 1, ''],
  ['thisdcos.directory', 'SOA', 'NOERROR', 1, ''],
  ['web.marathon.l4lb.thisdcos.directory', 'A', 'NOERROR', 1, ''],
  ['nope.marathon.l4lb.thisdcos.directory', 'A', 'NXDOMAIN', 0, 'thisdcos.directory. SOA'],
  ['thisnode.thisdcos.directory', 'A', 'NOERROR', 1, ''],
  ['ready.spartan', 'A', 'NOERROR', 1, ''],
  ['2.0.80.10.in-addr.arpa', 'PTR', 'NOERROR', 1, ''],
  ['2.0.80.10.in-addr.arpa', 'A', 'NOERROR', 0, '80.10.in-addr.arpa. SOA'],
  ['250.0.83.10.in-addr.arpa', 'PTR', 'NXDOMAIN', 0, '83.10.in-addr.arpa. SOA'],
  ['1.0.96.100.in-addr.arpa', 'PTR', 'NOERROR', 1, ''],
  ['1.2.0.192.in-addr.arpa', 'PTR', 'NOERROR', 1, ''],
  ['localhost', 'A', 'NOERROR', 1, ''],
  ['a.b.LocalHost', 'AAAA', 'NOERROR', 1, ''],
  ['a.localhost', 'TXT', 'NOERROR', 0, 'localhost. SOA'],
  ['a.localhost', 'SOA', 'NOERROR', 0, 'localhost. SOA'],
  ['example.com', 'A', 'foreign', 0, ''],
  ['directory', 'A', 'foreign', 0, ''],
  ['9.2.0.192.in-addr.arpa', 'PTR', 'foreign', 0, ''],
  ['.', 'NS', 'foreign', 0, ''],
  ['mesos', 'AXFR', 'REFUSED', 0, ''],
  ['mesos', 'IXFR', 'REFUSED', 0, ''],
  ['mesos', 'TKEY', 'NOTIMP', 0, ''],
  ['mesos', 'OPT', 'FORMERR', 0, ''],
]

t.test('answers by name and type, the same over UDP and TCP', async (t) => {
  for (const [name, type, code, count, soa] of questions) {
    for (const context of [udp, tcp]) {
      const outcome = answer(encodeMessage(query(name, parseType(type), edns()), { limitBytes }), context)
      const what = `${name} ${type} ${context.transport}`
      if (outcome.kind !== 'reply') {
        t.equal(outcome.kind, code, what)
        continue
      }
      const reply = decodeMessage(outcome.bytes)
      const authoritative = code === 'NOERROR' || code === 'NXDOMAIN'
      t.same([formatRcode(reply.rcode), reply.answers.length, soaOwner(reply)], [code, count, soa], what)
      t.match(
        reply,
        { response: true, id: 4711, authoritative, recursionDesired: true, recursionAvailable: false },
        what,
      )
      t.match(reply.questions, [{ name: parseName(name) }], `${what}: the question comes back in its case`)
      t.match(reply.edns, { udpSizeBytes: 1232, version: 0 }, `${what}: EDNS is answered by EDNS`)
      t.ok(
        reply.answers.every(({ ttlSeconds }) => ttlSeconds === 5 || type === 'NS'),
        `${what}: TTL`,
      )
    }
  }
})

t.test('answers rotate, owners keep the case of the question', async (t) => {
  const firsts = [0, 1, 2, 3].map((rotation) => text(ask(query('wEb.marathon.mesos', 'A'), { ...udp, rotation }))[0])
  t.same(firsts, ['A 10.80.0.2', 'A 10.80.1.2', 'A 10.80.2.2', 'A 10.80.0.2'])
  t.equal(ask(query('wEb.marathon.mesos', 'A')).answers[0]?.name, 'wEb.marathon.mesos.')
})

t.test('SRV brings the addresses of its targets', async (t) => {
  const reply = ask(query('_liquor-store._tcp.marathon.mesos', 'SRV'))
  t.same(reply.additionals.map(formatRecord), ['liquor-store-7zffe-s0.marathon.mesos.\t5\tIN\tA\t10.80.0.3'])
  const ns = ask(query('mesos', 'NS'))
  t.same(ns.additionals.map(formatRecord), ['ns1.mesos.\t5\tIN\tA\t198.51.100.1'])
})

t.test('sizes', async (t) => {
  const sizes: readonly (readonly [string, Partial<Message>, AnswerContext, number])[] = [
    ['no EDNS', {}, udp, 512],
    ['512', edns({ udpSizeBytes: 512 }), udp, 512],
    ['below 512', edns({ udpSizeBytes: 100 }), udp, 512],
    ['1232', edns(), udp, 1232],
    ['4096', edns({ udpSizeBytes: 4096 }), udp, 4096],
    ['65535', edns({ udpSizeBytes: 65535 }), udp, 4096],
    ['TCP', {}, tcp, 65535],
  ]
  for (const [what, changes, context, limit] of sizes) {
    const reply = ask(query('many.data.jobs.mesos', 'A', changes), context)
    t.ok(reply.octets <= limit, `${what}: ${reply.octets} octets`)
    t.equal(reply.truncated, limit < 4096, `${what}: TC`)
    if (limit >= 4096) t.equal(reply.answers.length, 200, what)
    else t.ok(reply.octets > limit - 32, `${what}: as many as fit, ${reply.answers.length}`)
    const srv = ask(query('_many._tcp.data.jobs.mesos', 'SRV', changes), context)
    t.ok(srv.octets <= limit, `${what}, SRV: ${srv.octets} octets`)
    t.equal(srv.truncated && srv.additionals.length > 0, false, `${what}: no additional data beside TC`)
  }
})

t.test('queries that are not plain', async (t) => {
  const [plain] = query('web.marathon.mesos', 'A').questions
  if (plain === undefined) throw new Error('a query has a question')
  const cases: readonly (readonly [string, Partial<Message>, string])[] = [
    ['EDNS version 1', edns({ version: 1 }), 'BADVERS'],
    ['two questions', { questions: [plain, plain] }, 'FORMERR'],
    ['no question', { questions: [] }, 'FORMERR'],
    ['class CH', { questions: [{ ...plain, class: 3 }] }, 'REFUSED'],
    ['class ANY', { questions: [{ ...plain, class: 255 }] }, 'REFUSED'],
    ['opcode IQUERY', { opcode: 1 }, 'NOTIMP'],
    ['opcode STATUS', { opcode: 2 }, 'NOTIMP'],
    ['opcode NOTIFY', { opcode: 4 }, 'NOTIMP'],
    ['opcode UPDATE', { opcode: 5 }, 'NOTIMP'],
    ['opcode 15', { opcode: 15 }, 'NOTIMP'],
    ['a cookie', edns({ options: [{ code: 10, bytes: new Uint8Array(8) }] }), 'NOERROR'],
    ['an unknown option', edns({ options: [{ code: 65001, bytes: new Uint8Array(3) }] }), 'NOERROR'],
    ['DO', edns({ dnssecOk: true }), 'NOERROR'],
  ]
  for (const [what, changes, code] of cases) {
    const reply = ask(query('web.marathon.mesos', 'A', changes))
    t.equal(formatRcode(reply.rcode), code, what)
    t.equal(reply.opcode, changes.opcode ?? 0, `${what}: opcode`)
    t.match(
      reply.edns,
      changes.edns === undefined ? undefined : { version: 0, dnssecOk: changes.edns.dnssecOk, options: [] },
      what,
    )
  }
  t.equal(answer(new Uint8Array(11), udp).kind, 'drop', 'shorter than a header')
  t.equal(
    answer(encodeMessage(query('mesos', 'A', { response: true }), { limitBytes }), udp).kind,
    'drop',
    'a response',
  )
  const garbled = Uint8Array.from([...encodeMessage(query('mesos', 'A'), { limitBytes }), 1])
  const reply = answer(garbled, udp)
  t.same(
    reply.kind === 'reply' ? [...reply.bytes.slice(0, 4), reply.bytes.length] : [],
    [18, 103, 129, 1, 12],
    'FORMERR',
  )
})

t.test('zones that nothing is known of yet', async (t) => {
  const fresh = openNamesStage({ self: parseNodeName('host-a') }).zones
  const context = { ...udp, zones: fresh }
  t.equal(formatRcode(ask(query('web.marathon.mesos', 'A'), context).rcode), 'SERVFAIL')
  t.equal(answer(encodeMessage(query('example.com', 'A'), { limitBytes }), context).kind, 'foreign')
})

t.test('aliases are followed, loops end', async (t) => {
  const store = openZoneStore({
    expected: [],
    ttlSeconds: 5,
    authority: { mname: () => parseName('ns.z'), rname: () => parseName('root.z'), negativeTtlSeconds: 1 },
  })
  const alias = (owner: string, target: string) => ({
    owner: parseName(owner),
    rrsets: [{ code: 5, ttlSeconds: 5, data: [{ type: 'CNAME', target: parseName(target) } as const] }],
  })
  store.apply({
    version: 1,
    apexes: { added: [parseName('z')], removed: [] },
    owners: [
      alias('a.z', 'b.z'),
      alias('b.z', 'gone.z'),
      alias('x.z', 'y.z'),
      alias('y.z', 'x.z'),
      alias('out.z', 'example.com'),
    ],
  })
  const context = { ...udp, zones: store }
  const cases: readonly (readonly [string, string, number, string])[] = [
    ['a.z', 'NXDOMAIN', 2, 'z. SOA'],
    ['x.z', 'NOERROR', 9, 'z. SOA'],
    ['out.z', 'NOERROR', 1, ''],
  ]
  for (const [name, code, count, soa] of cases) {
    const reply = ask(query(name, 'A'), context)
    t.same([formatRcode(reply.rcode), reply.answers.length, soaOwner(reply)], [code, count, soa], name)
  }
  t.equal(ask(query('a.z', 'CNAME'), context).answers.length, 1)
})

t.test('20,000 mutated packets', async (t) => {
  const random = seededRandom(1)
  const allowed = new Set([0, 1, 2, 3, 4, 5, 16])
  const codes = new Map<number, number>()
  let bad = 0
  for (let i = 0; i < 20_000; i++) {
    const packet = mutated(random)
    const context = random(2) === 0 ? udp : tcp
    const outcome = answer(packet, { ...context, rotation: i })
    if (outcome.kind !== 'reply') continue
    codes.set(outcome.rcode, (codes.get(outcome.rcode) ?? 0) + 1)
    const reply = decodeMessage(outcome.bytes)
    const limit = context.transport === 'tcp' ? 65535 : 4096
    const right = allowed.has(reply.rcode) && outcome.bytes.length <= limit && reply.id === decodeHeader(packet).id
    if (!right || !reply.response) bad++
  }
  t.equal(bad, 0)
  t.ok(codes.size >= 5, `rcodes seen: ${[...codes].map(([code, count]) => `${formatRcode(code)} ${count}`).join(', ')}`)
})

function mutated(random: (below: number) => number): Uint8Array {
  const [name, type] = questions[random(questions.length)] ?? ['mesos', 'A']
  const options =
    random(2) === 0 ? edns({ udpSizeBytes: random(65536), options: [{ code: 10, bytes: new Uint8Array(8) }] }) : {}
  let packet = encodeMessage(query(name, parseType(type), options), { limitBytes })
  for (let n = random(5); n > 0; n--) {
    const kind = random(4)
    const at = random(packet.length)
    if (kind === 0) packet = packet.slice(0, at)
    else if (kind === 1) packet = Uint8Array.from([...packet, ...packet.slice(at)])
    else packet[at] = kind === 2 ? random(256) : (packet[at] ?? 0) ^ (1 << random(8))
    if (packet.length === 0) return packet
  }
  return packet
}
