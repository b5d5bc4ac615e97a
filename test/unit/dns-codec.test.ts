import { readFileSync } from 'node:fs'
import * as dns2 from 'dns2'
import * as dnsPacket from 'dns-packet'
import t from 'tap'
import { z } from 'zod'
import { decodeMessage, encodeMessage, type Message, type ResourceRecord } from '../../discovery/dns/message.ts'
import { labelsOf, nameKey, nameOctets, parentKey, parseName } from '../../discovery/dns/name.ts'
import { formatRecord, formatType, parseType } from '../../discovery/dns/presentation.ts'
import { rdataCode, typeCode } from '../../discovery/dns/rdata.ts'
import { query, randomMessage } from '../fixtures/dns/messages.ts'
import { seededRandom } from '../fixtures/dns/random.ts'

const limitBytes = 65535

/**
 * Exchanges of dig 9.18 with named 9.18, recorded between them; `records` is what dig printed of the response.
 */
const vectors = z
  .array(z.object({ command: z.string(), query: z.string(), response: z.string(), records: z.array(z.string()) }))
  .parse(JSON.parse(readFileSync(new URL('../fixtures/dns/bind-9.18.json', import.meta.url), 'utf8')))

const allRecords = (message: Message) => [...message.answers, ...message.authorities, ...message.additionals]
const line = (record: ResourceRecord) => formatRecord(record).replace(/\s+/g, ' ')
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))

t.test('recorded exchanges with BIND', async (t) => {
  t.ok(vectors.length >= 26)
  for (const vector of vectors) {
    t.test(vector.command, async (t) => {
      const asked = decodeMessage(hex(vector.query))
      t.equal(Buffer.from(encodeMessage(asked, { limitBytes })).toString('hex'), vector.query, 'query, octet by octet')
      const response = decodeMessage(hex(vector.response))
      // dig prints only digits of CAA and hex of unknown types; those without a table here are compared in RFC 3597 form.
      const printed = vector.records.filter((text) => !/ CAA /.test(text))
      const ours = allRecords(response).filter(({ data }) => rdataCode(data) !== 257)
      t.same(ours.map(line), printed, 'records as dig printed them')
      // Compression goes by names without case (RFC 4343), so a suffix takes the case of where it was first.
      const again = decodeMessage(encodeMessage(response, { limitBytes }))
      t.equal(allRecords(again).map(line).join().toLowerCase(), allRecords(response).map(line).join().toLowerCase())
      t.equal(response.id, asked.id)
    })
  }
})

t.test('other decoders read what we write, and we what they write', async (t) => {
  const random = seededRandom(20)
  for (let i = 0; i < 500; i++) {
    const message = randomMessage(random)
    const bytes = Buffer.from(encodeMessage(message, { limitBytes }))
    t.same(decodeMessage(bytes), message, `message ${i} round trip`)
    const theirs = dnsPacket.decode(bytes)
    t.same(
      (theirs.answers ?? []).map(packetLine),
      message.answers.map(packetLineOfOurs),
      `message ${i}, dns-packet decodes`,
    )
    t.same(decodeMessage(dnsPacket.encode(theirs)), message, `message ${i}, dns-packet encodes`)
  }
})

t.test('dns2 reads the types that it knows', async (t) => {
  const random = seededRandom(21)
  let compared = 0
  for (let i = 0; i < 300; i++) {
    const message = randomMessage(random)
    const parsed = dns2.Packet.parse(Buffer.from(encodeMessage(message, { limitBytes })))
    for (const [index, { data, name }] of message.answers.entries()) {
      const theirs: unknown = parsed.answers[index]
      // dns2 drops the zero groups of IPv6 addresses and joins TXT strings: those two are not compared.
      if (data.type !== 'A' && data.type !== 'NS' && data.type !== 'CNAME' && data.type !== 'SRV') continue
      const expected = data.type === 'A' ? { address: data.address } : dns2Target(data)
      t.match(theirs, { ...expected, name: name.slice(0, -1) })
      compared++
    }
  }
  t.ok(compared > 50, `${compared} records compared`)
})

function dns2Target(data: { readonly type: string; readonly target: string; readonly port?: number }) {
  const target = data.target.slice(0, -1)
  if (data.type === 'SRV') return { target, port: data.port }
  return data.type === 'NS' ? { ns: target } : { domain: target }
}

function packetLine(record: dnsPacket.Record): string {
  return `${record.name} ${record.ttl} ${record.type} ${JSON.stringify(record.data)}`
}

function packetLineOfOurs({ name, ttlSeconds, data }: ResourceRecord): string {
  const cut = (text: string) => text.slice(0, -1)
  const value = () => {
    switch (data.type) {
      case 'A':
      case 'AAAA':
        return data.address
      case 'SRV':
        return { priority: data.priority, weight: data.weight, port: data.port, target: cut(data.target) }
      case 'MX':
        return { preference: data.preference, exchange: cut(data.target) }
      case 'TXT':
        return data.strings.map((text) => Buffer.from(text, 'latin1'))
      case 'SOA':
        return {
          mname: cut(data.mname),
          rname: cut(data.rname),
          serial: data.serial,
          refresh: data.refreshSeconds,
          retry: data.retrySeconds,
          expire: data.expireSeconds,
          minimum: data.minimumSeconds,
        }
      default:
        return data.type === 'unknown' ? data.bytes : cut(data.target)
    }
  }
  return `${cut(name)} ${ttlSeconds} ${data.type} ${JSON.stringify(value())}`
}

const question = '0001 0100 0001 0000 0000 0000'
const opt = '00 0029 04d0 00000000 0000'

t.test('malformed messages are refused', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['shorter than a header', '0001 0100 0001 0000 0000'],
    ['question missing', question],
    ['label beyond the end', `${question} 05 6162`],
    ['no type', `${question} 00 00`],
    ['pointer to itself', `${question} c00c 0001 0001`],
    ['pointer forward', `${question} c020 0001 0001`],
    ['pointer cut in two', `${question} c0`],
    ['two pointers that lead to each other', `${question} c00e c00c 0001 0001`],
    ['a label that leads back into itself', `${question} 0161 c00c 0001 0001`],
    ['label type 01', `${question} 40 0001 0001`],
    ['label type 10', `${question} 80 0001 0001`],
    ['octets left over', `${question} 00 0001 0001 ff`],
    ['a name of 256 octets', `${question} ${`3f${'61'.repeat(63)}`.repeat(3)}3e${'61'.repeat(62)}0161 00 0001 0001`],
    ['data beyond the end', `0001 8400 0000 0001 0000 0000 00 0001 0001 00000005 0004 0a00`],
    ['an A record of 3 octets', `0001 8400 0000 0001 0000 0000 00 0001 0001 00000005 0003 0a0000`],
    ['an A record of 5 octets', `0001 8400 0000 0001 0000 0000 00 0001 0001 00000005 0005 0a00000100`],
    ['an SRV record cut in its name', `0001 8400 0000 0001 0000 0000 00 0021 0001 00000005 0008 0000 0001 0050 0561`],
    ['a TXT string longer than its record', `0001 8400 0000 0001 0000 0000 00 0010 0001 00000005 0002 0561`],
    ['two OPT records', `0001 0100 0000 0000 0000 0002 ${opt} ${opt}`],
    ['an OPT record in the answers', `0001 0100 0000 0001 0000 0000 ${opt}`],
    ['an OPT record that is not the root’s', `0001 0100 0000 0000 0000 0001 0161 ${opt}`],
    ['an EDNS option longer than its record', '0001 0100 0000 0000 0000 0001 00 0029 04d0 00000000 0004 000a 0008'],
  ]
  for (const [name, bytes] of cases) t.throws(() => decodeMessage(hex(bytes)), { code: 'ERR_DNS_FORMAT' }, name)
})

t.test('names', async (t) => {
  const good: readonly (readonly [string, string, readonly string[]])[] = [
    ['.', '.', []],
    ['', '.', []],
    ['mesos', 'mesos.', ['mesos']],
    ['Web.Marathon.mesos.', 'Web.Marathon.mesos.', ['Web', 'Marathon', 'mesos']],
    ['a\\.b.c', 'a\\.b.c.', ['a.b', 'c']],
    ['a\\\\.b', 'a\\\\.b.', ['a\\', 'b']],
    ['sp\\032ace.x', 'sp\\032ace.x.', ['sp ace', 'x']],
    ['a b', 'a\\032b.', ['a b']],
    ['\\255.x', '\\255.x.', ['\u00ff', 'x']],
    ['\\097', 'a.', ['a']],
    [`${'l'.repeat(63)}.x`, `${'l'.repeat(63)}.x.`, ['l'.repeat(63), 'x']],
  ]
  for (const [text, name, labels] of good) {
    t.equal(parseName(text), name, text)
    t.same(labelsOf(parseName(text)), labels)
    t.equal(
      nameOctets(parseName(text)),
      labels.reduce((sum, label) => sum + 1 + label.length, 1),
    )
  }
  const longest = Array.from({ length: 127 }, () => 'a').join('.')
  t.equal(nameOctets(parseName(longest)), 255)
  for (const bad of ['a..b', '.a', `${'l'.repeat(64)}.x`, `${longest}.a`, 'a\\', 'a\\999', 'ω']) {
    t.throws(() => parseName(bad), { code: 'ERR_DNS_NAME' }, bad)
  }
  const parents: readonly (readonly [string, string | undefined])[] = [
    ['a.b.', 'b.'],
    ['b.', '.'],
    ['.', undefined],
    ['a\\.b.c.', 'c.'],
    ['a\\\\.c.', 'c.'],
  ]
  for (const [child, parent] of parents) t.equal(parentKey(nameKey(parseName(child))), parent, child)
})

t.test('what does not fit is left out, additional data first', async (t) => {
  const records = (name: string, count: number, third: number): ResourceRecord[] =>
    Array.from({ length: count }, (_, i) => ({
      name: parseName(name),
      class: 1,
      ttlSeconds: 5,
      data: { type: 'A', address: decodeAddress(third, i) },
    }))
  const message = query('many.mesos', 'A', {
    response: true,
    answers: records('many.mesos', 10, 1),
    additionals: [...records('one.mesos', 2, 2), ...records('two.mesos', 2, 3)],
    edns: { udpSizeBytes: 1232, version: 0, dnssecOk: false, options: [] },
  })
  const whole = encodeMessage(message, { limitBytes }).length
  const cases: readonly (readonly [number, number, number, boolean])[] = [
    [whole, 10, 4, false],
    [whole - 1, 10, 2, false],
    [whole - 33, 10, 2, false],
    [whole - 60, 10, 0, false],
    [whole - 80, 9, 0, true],
    [60, 1, 0, true],
    [45, 0, 0, true],
  ]
  for (const [limit, answers, additionals, truncated] of cases) {
    const bytes = encodeMessage(message, { limitBytes: limit })
    const got = decodeMessage(bytes)
    t.ok(bytes.length <= limit, `${limit}: ${bytes.length} octets`)
    t.same(
      [got.answers.length, got.additionals.length, got.truncated],
      [answers, additionals, truncated],
      `${limit} octets`,
    )
    t.ok(got.edns, 'OPT stays')
  }
})

function decodeAddress(third: number, fourth: number) {
  const [record] = decodeMessage(
    hex(`0001 8400 0000 0001 0000 0000 00 0001 0001 00000005 0004 0a00${Buffer.from([third, fourth]).toString('hex')}`),
  ).answers
  if (record?.data.type !== 'A') throw new Error('no address')
  return record.data.address
}

t.test('types by name', async (t) => {
  t.equal(parseType('srv'), typeCode('SRV'))
  t.equal(parseType('ANY'), 255)
  t.equal(parseType('type65280'), 65280)
  t.equal(formatType(65280), 'TYPE65280')
  t.throws(() => parseType('nonsense'), { code: 'ERR_DNS_TYPE' })
  t.throws(() => parseType('TYPE65536'), { code: 'ERR_DNS_TYPE' })
})
