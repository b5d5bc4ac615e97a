import t from 'tap'
import { diffSnapshots } from '../../core/model/delta.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { emptySnapshot } from '../../core/model/snapshot.ts'
import { decodeMessage, encodeMessage } from '../../discovery/dns/message.ts'
import { formatType, parseType } from '../../discovery/dns/presentation.ts'
import { answer, type Answer, type AnswerContext, refuse } from '../../discovery/server/answer.ts'
import { type ZoneChange } from '../../discovery/records/zone-change.ts'
import { openDenials } from '../../discovery/server/denials.ts'
import { forgetChanged } from '../../discovery/server/hot-change.ts'
import { packChange } from '../../discovery/server/packed.ts'
import { makeHotBuffers } from '../../discovery/server/hot-memory.ts'
import { openHotResponses } from '../../discovery/server/hot-responses.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { namesConfig } from '../../discovery/records/config.ts'
import { openNamesStage } from '../../discovery/stage.ts'
import { openNamesZones } from '../../discovery/zones.ts'
import { query } from '../fixtures/dns/messages.ts'
import { seededRandom } from '../fixtures/dns/random.ts'
import { fixtureSnapshot, fixtureTask } from '../fixtures/dns/snapshot.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const { zones } = await fixtureStage()

/** Owners with their types, and what has none. */
const asked = [
  ...[...zones.owners()].flatMap(([owner, rrsets]) =>
    rrsets.map(({ code }) => [owner as string, formatType(code)] as const),
  ),
  ['mesos.', 'SOA'],
  ['mesos.', 'NS'],
  ['mesos.', 'A'],
  ['nope.mesos.', 'A'],
  ['example.com.', 'A'],
  ['web.marathon.mesos.', 'TXT'],
  ['web.marathon.mesos.', 'ANY'],
] as const

/** What the responder makes of an outcome. */
function generalReply(outcome: Answer, context: AnswerContext): Answer {
  return outcome.kind === 'foreign' ? refuse(outcome.query, context, 5) : outcome
}

function randomPacket(random: (below: number) => number): Uint8Array {
  const [name, type] = asked[random(asked.length)] ?? ['mesos.', 'SOA']
  const cased = [...name].map((char) => (random(3) === 0 ? char.toUpperCase() : char)).join('')
  const option = { code: 10, bytes: new Uint8Array(random(9)) }
  const edns = {
    udpSizeBytes: [0, 512, 1232, 4096, 65535][random(5)] ?? 0,
    version: random(20) === 0 ? 1 : 0,
    dnssecOk: random(2) === 0,
    options: random(2) === 0 ? [option] : [],
  }
  const changes = { id: random(65536), recursionDesired: random(2) === 0, authenticData: random(2) === 0 }
  const message = query(cased, parseType(type), random(2) === 0 ? { ...changes, edns } : changes)
  const packet = encodeMessage(message, { limitBytes: 65535 })
  if (random(10) === 0) packet[random(packet.length)] = random(256)
  if (random(30) === 0) return packet.slice(0, random(packet.length))
  return packet
}

t.test('both paths give the same octets', async (t) => {
  const random = seededRandom(11)
  const hot = openHotResponses(makeHotBuffers(), () => 5)
  hot.store.setSerial(zones.serial())
  let hits = 0
  let different = 0
  for (let i = 0; i < 60_000; i++) {
    const packet = randomPacket(random)
    const transport = random(4) === 0 ? 'tcp' : 'udp'
    const context: AnswerContext = { zones, transport, rotation: random(2 ** 30), recursion: 'none' }
    const outcome = answer(packet, context)
    const general = generalReply(outcome, context)
    const quick = hot.find(packet, context)?.bytes
    hot.remember(packet, context, outcome)
    if (quick === undefined) continue
    hits++
    const same = general.kind === 'reply' && Buffer.compare(general.bytes, quick) === 0
    if (!same && different++ < 3) t.same(decodeMessage(quick), general.kind === 'reply' && decodeMessage(general.bytes))
  }
  t.equal(different, 0)
  t.ok(hits > 20_000, `${hits} of 60,000 from what was kept`)
})

const refusable = [
  ['example.com', 'A'],
  ['wEb.marathon.mesos', 'A'],
  ['web.marathon.mesos', 'AXFR'],
  ['x.thisdcos.directory', 'SRV'],
] as const

function refusablePacket(random: (below: number) => number): Uint8Array {
  const [name, type] = refusable[random(refusable.length)] ?? refusable[0]
  const edns = { udpSizeBytes: 1232, version: random(9) === 0 ? 1 : 0, dnssecOk: random(2) === 0, options: [] }
  const changes = { id: random(65536), recursionDesired: random(2) === 0, ...(random(2) === 0 ? { edns } : {}) }
  const packet = encodeMessage(query(name, parseType(type), changes), { limitBytes: 512 })
  // The class, where there is no OPT.
  if (random(4) === 0) packet[packet.length - 1] = random(4)
  return packet
}

t.test('refusals and failures give the same octets on both paths', async (t) => {
  const loading = openNamesZones(namesConfig())
  for (const [store, recursion] of [
    [zones, 'none'],
    [loading, 'none'],
    [loading, 'forwarded'],
  ] as const) {
    const random = seededRandom(13)
    const hot = openHotResponses(makeHotBuffers(), () => 5)
    hot.store.setSerial(store.serial())
    const seen = new Map<number, number>()
    for (let i = 0; i < 4000; i++) {
      const packet = refusablePacket(random)
      const context: AnswerContext = { zones: store, transport: 'udp', rotation: i, recursion }
      const outcome = answer(packet, context)
      const quick = hot.find(packet, context)
      hot.remember(packet, context, outcome)
      if (quick === undefined) continue
      seen.set(quick.rcode, (seen.get(quick.rcode) ?? 0) + 1)
      const general = recursion === 'none' ? generalReply(outcome, context) : outcome
      const same = general.kind === 'reply' && Buffer.compare(general.bytes, quick.bytes) === 0
      if (!same)
        t.same(Buffer.from(quick.bytes).toString('hex'), general, `${decodeMessage(packet).questions[0]?.name}`)
    }
    t.ok((seen.get(5) ?? 0) > 100, `${seen.get(5)} REFUSED`)
    if (store === loading) t.ok((seen.get(2) ?? 0) > 300, `${seen.get(2)} SERVFAIL`)
  }
})

t.test('a zone that comes ends refusals and failures', async (t) => {
  const store = openNamesZones(namesConfig())
  const hot = openHotResponses(makeHotBuffers(), () => 5)
  const context: AnswerContext = { zones: store, transport: 'udp', rotation: 0, recursion: 'none' }
  for (const [name, code] of [
    ['web.marathon.mesos', 2],
    ['a.example.com', 5],
  ] as const) {
    const packet = encodeMessage(query(name, 'A'), { limitBytes: 512 })
    for (let i = 0; i < 2; i++) hot.remember(packet, context, answer(packet, context))
    t.equal(hot.find(packet, context)?.rcode, code)
    const apex = parseName(name.split('.').slice(-1)[0] ?? '.')
    const change = { version: 2, owners: [], apexes: { added: [apex], removed: [] } }
    store.apply(change)
    forgetChanged(hot.store, packChange(change))
    t.equal(hot.find(packet, context), undefined)
  }
})

t.test('denials of names that were never asked for', async (t) => {
  const random = seededRandom(12)
  const denials = openDenials(zones)
  const labels = [
    'ns1',
    'root',
    'web',
    '_tcp',
    'marathon',
    'ns',
    'a.b',
    'x',
    'longer-label',
    'UP',
    'containerip',
    'dcos',
  ]
  const apexes = ['mesos', 'thisdcos.directory', 'spartan', 'directory', '80.10.in-addr.arpa', 'example.com']
  const different: string[] = []
  let hits = 0
  for (let i = 0; i < 20_000; i++) {
    const below = Array.from({ length: 1 + random(3) }, () => labels[random(labels.length)])
    const name = [...below, apexes[random(apexes.length)]].join('.')
    const type = parseType(['A', 'AAAA', 'SRV', 'ANY', 'AXFR', 'TYPE200', 'TXT'][random(7)] ?? 'A')
    const edns = { udpSizeBytes: random(2) * 1232, version: 0, dnssecOk: random(2) === 0, options: [] }
    const changes = { id: random(65536), recursionDesired: random(2) === 0, ...(random(2) === 0 ? { edns } : {}) }
    const packet = encodeMessage(query(name, type, changes), { limitBytes: 65535 })
    const general = answer(packet, { zones, transport: 'udp', rotation: i, recursion: 'none' })
    const quick = denials.find(packet, 'udp')
    denials.remember(packet, general)
    if (quick === undefined) continue
    hits++
    if (general.kind !== 'reply' || Buffer.compare(general.bytes, quick) !== 0) different.push(name)
  }
  t.same(different, [])
  t.ok(hits > 3000, `${hits} of 20,000 without the general path`)
})

t.test('a change of the zones is seen at once', async (t) => {
  const hot = openHotResponses(makeHotBuffers(), () => 5)
  const publish = (change: ZoneChange) => forgetChanged(hot.store, packChange(change))
  const stage = openNamesStage({ self: parseNodeName('host-a'), publish })
  const context: AnswerContext = { zones: stage.zones, transport: 'udp', rotation: 0, recursion: 'none' }
  const packet = encodeMessage(query('web.marathon.mesos', 'A'), { limitBytes: 512 })
  const ask = () => {
    const quick = hot.find(packet, context)?.bytes
    const outcome = answer(packet, context)
    hot.remember(packet, context, outcome)
    const bytes = quick ?? (outcome.kind === 'reply' ? outcome.bytes : new Uint8Array(12))
    return [quick === undefined ? 'made' : 'kept', decodeMessage(bytes).rcode, decodeMessage(bytes).answers.length]
  }
  t.same(
    [ask(), ask()],
    [
      ['made', 2, 0],
      ['made', 2, 0],
    ],
    'SERVFAIL is not kept',
  )
  const { signal } = new AbortController()
  const first = fixtureSnapshot()
  await stage.plan({ previous: emptySnapshot, next: first, delta: diffSnapshots(emptySnapshot, first) }).add({ signal })
  t.same(
    [ask(), ask()],
    [
      ['made', 0, 3],
      ['kept', 0, 3],
    ],
  )
  const task = fixtureTask('web.9', { name: 'web' })
  const next = { ...first, version: 8, tasks: new Map([...first.tasks, [task.id, task] as const]) }
  await stage.plan({ previous: first, next, delta: diffSnapshots(first, next) }).add({ signal })
  t.same(
    [ask(), ask()],
    [
      ['made', 0, 4],
      ['kept', 0, 4],
    ],
  )
})
