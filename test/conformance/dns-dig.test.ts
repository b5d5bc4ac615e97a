import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { silentLog } from '../../core/base/log.ts'
import { parseIp } from '../../core/base/ip.ts'
import { openDnsServer } from '../../discovery/server/server.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const run = promisify(execFile)
const noDig: string | false =
  spawnSync('dig', ['-v']).error === undefined ? false : 'needs dig (Debian: bind9-dnsutils)'

/** What to ask, and what dig's output must and must not have. `%` stands for white space of any length. */
interface Case {
  readonly ask: string
  readonly must: readonly string[]
  readonly not?: readonly string[]
}

const nxdomain = ['status: NXDOMAIN', 'flags: qr aa', 'mesos.%1%IN%SOA%ns1.mesos. root.ns1.mesos. 7 60 600 86400 1']
const nodata = ['status: NOERROR', 'ANSWER: 0, AUTHORITY: 1', 'mesos.%1%IN%SOA']

const cases: readonly Case[] = [
  { ask: 'web.marathon.mesos A', must: ['status: NOERROR', 'flags: qr aa', 'ANSWER: 3', '10.80.2.2', '5%IN%A'] },
  { ask: 'web.marathon.mesos AAAA', must: ['ANSWER: 2', 'IN%AAAA%fd00:80::2'] },
  { ask: 'wEb.MaRaThOn.MeSoS A', must: ['wEb.MaRaThOn.MeSoS.%5%IN%A%10.80.0.2'] },
  { ask: 'web-e844k-s0.marathon.mesos A', must: ['ANSWER: 1', 'IN%A%10.80.0.2'] },
  { ask: 'web.marathon.slave.mesos A', must: ['ANSWER: 2', '192.0.2.1', '192.0.2.2'] },
  { ask: 'liquor.store.marathon.mesos A', must: ['IN%A%10.80.0.3'] },
  { ask: 'leader.mesos A', must: ['IN%A%192.0.2.1'] },
  { ask: 'master.mesos A', must: ['ANSWER: 2'] },
  { ask: 'web.marathon.l4lb.thisdcos.directory A', must: ['IN%A%100.96.0.1', 'flags: qr aa'] },
  { ask: 'web.marathon.l4lb.thisdcos.directory AAAA', must: ['IN%AAAA%fd00:96::1'] },
  { ask: 'liquor-store.marathon.autoip.dcos.thisdcos.directory A', must: ['IN%A%192.0.2.1'] },
  {
    ask: '_http._liquor-store._tcp.marathon.mesos SRV',
    must: [
      'SRV%0 1 80 liquor-store-7zffe-s0.marathon.mesos.',
      'liquor-store-7zffe-s0.marathon.mesos. 5%IN%A%10.80.0.3',
    ],
  },
  { ask: '_web._tcp.marathon.mesos SRV', must: ['ANSWER: 2', 'SRV%0 1 31001 web-e844k-s0.marathon.slave.mesos.'] },
  { ask: '_nope._tcp.marathon.mesos SRV', must: nxdomain },
  { ask: 'nope.marathon.mesos A', must: nxdomain },
  { ask: 'sick.marathon.mesos A', must: nxdomain },
  { ask: 'web.marathon.mesos TXT', must: nodata },
  { ask: '_tcp.marathon.mesos A', must: nodata },
  { ask: 'web.marathon.mesos TYPE65280', must: nodata },
  { ask: '-x 10.80.0.2', must: ['IN%PTR%web-e844k-s0.marathon.mesos.'] },
  { ask: '-x fd00:80::2', must: ['IN%PTR%web-e844k-s0.marathon.mesos.'] },
  { ask: '-x 100.96.0.1', must: ['IN%PTR%web.marathon.l4lb.thisdcos.directory.'] },
  { ask: '-x 192.0.2.2', must: ['IN%PTR%host-b.node.thisdcos.directory.'] },
  { ask: '-x 10.83.255.255', must: ['status: NXDOMAIN', '83.10.in-addr.arpa.%1%IN%SOA%ns.spartan.'] },
  { ask: 'mesos SOA', must: ['ANSWER: 1', 'mesos.%5%IN%SOA%ns1.mesos.'] },
  { ask: 'mesos NS', must: ['mesos.%3600%IN%NS%ns1.mesos.', 'ns1.mesos.%5%IN%A%198.51.100.1'] },
  { ask: 'web.marathon.mesos ANY +notcp', must: ['status: NOERROR', 'ANSWER: 3'], not: ['AAAA'] },
  { ask: 'mesos AXFR', must: ['Transfer failed'] },
  { ask: 'example.com A', must: ['status: REFUSED', 'flags: qr rd;'], not: [' aa'] },
  { ask: 'web.marathon.mesos A +norecurse', must: ['flags: qr aa;', 'status: NOERROR'] },
  { ask: 'version.bind TXT CH', must: ['status: REFUSED'] },
  { ask: 'mesos A +opcode=status', must: ['opcode: STATUS, status: NOTIMP'] },
  { ask: 'mesos A +opcode=notify', must: ['opcode: NOTIFY, status: NOTIMP'] },
  { ask: 'mesos A +opcode=update', must: ['opcode: UPDATE, status: NOTIMP'] },
  { ask: 'mesos SOA +edns=1 +noednsneg', must: ['status: BADVERS', 'EDNS: version: 0'] },
  { ask: 'mesos SOA +noedns', must: ['status: NOERROR', 'ADDITIONAL: 0'], not: ['EDNS'] },
  { ask: 'mesos SOA +dnssec', must: ['EDNS: version: 0, flags: do; udp: 1232'] },
  {
    ask: 'mesos SOA +cookie=0011223344556677 +nsid',
    must: ['status: NOERROR', 'EDNS: version: 0'],
    not: ['COOKIE: 00112'],
  },
  { ask: 'mesos SOA +ednsopt=65001:aabb +ednsflags=0x1', must: ['status: NOERROR', 'EDNS: version: 0, flags:; udp'] },
  { ask: 'mesos SOA +cdflag +adflag +zflag', must: ['flags: qr aa rd;'] },
  { ask: 'web.marathon.containerip.dcos.thisdcos.directory A', must: ['ANSWER: 3', 'flags: qr aa'] },
  { ask: 'web.marathon.dcos.containerip.dcos.thisdcos.directory AAAA', must: ['ANSWER: 2', 'fd00:80:0:1::2'] },
  { ask: 'web.marathon.agentip.dcos.thisdcos.directory AAAA', must: ['ANSWER: 1', '2001:db8::3'] },
  { ask: 'zk-3.zk A', must: ['ANSWER: 1', '192.0.2.1'] },
  { ask: 'zk-6.zk A', must: ['status: NXDOMAIN', 'zk.%1%IN%SOA%ns.spartan.'] },
  { ask: 'zk SOA', must: ['ANSWER: 1', 'zk.%5%IN%SOA%ns.spartan.'] },
  { ask: 'localhost A', must: ['IN%A%127.0.0.1', 'flags: qr aa'] },
  { ask: 'localhost AAAA', must: ['IN%AAAA%::1'] },
  { ask: 'ready.spartan A', must: ['IN%A%127.0.0.1'] },
  { ask: 'thisnode.thisdcos.directory A', must: ['IN%A%192.0.2.1'] },
  { ask: 'web.marathon.dclb.thisdcos.directory A', must: ['web.marathon.dclb.thisdcos.directory. 5%IN%A%100.96.0.1'] },
  { ask: 'host-c.node.thisdcos.global AAAA', must: ['host-c.node.thisdcos.global. 5%IN%AAAA%2001:db8::3'] },
  { ask: 'leader.mesos.thisdcos.directory A', must: ['leader.mesos.thisdcos.directory. 5%IN%A%192.0.2.1'] },
  { ask: 'nope.thisdcos.global A', must: ['status: NXDOMAIN', 'thisdcos.global.%1%IN%SOA%ns.spartan.'] },
  { ask: '_leader._udp.mesos SRV', must: ['SRV%0 1 5050 leader.mesos.', 'leader.mesos.%5%IN%A%192.0.2.1'] },
  { ask: '_slave._tcp.mesos SRV', must: ['SRV%0 1 5051 slave.mesos.', 'ADDITIONAL: 4', '2001:db8::3'] },
  { ask: '_framework._tcp.marathon.mesos SRV', must: ['SRV%0 1 5050 marathon.mesos.'] },
  {
    ask: '_dns-query._liquor.store._udp.marathon.mesos SRV',
    must: ['SRV%0 1 53 liquor.store-7zffe-s0.marathon.mesos.'],
  },
  { ask: 'master1.mesos A', must: ['IN%A%192.0.2.2'] },
  { ask: 'leader.mesos AAAA', must: nodata },
  { ask: 'web.marathon.mesos CNAME', must: nodata },
  { ask: 'web.marathon.mesos HTTPS', must: nodata },
  { ask: 'web.marathon.mesos A +nsid +padding=128', must: ['status: NOERROR', 'ANSWER: 3'] },
  { ask: 'web.marathon.mesos A +subnet=192.0.2.0/24', must: ['status: NOERROR', 'ANSWER: 3'] },
]

/** Sizes matter over UDP only. */
const sizes: readonly Case[] = [
  { ask: 'many.data.jobs.mesos A +noedns +ignore', must: ['flags: qr aa tc', 'ANSWER: 29', 'MSG SIZE  rcvd: 502'] },
  { ask: 'many.data.jobs.mesos A +bufsize=512 +ignore', must: ['flags: qr aa tc', 'ANSWER: 28'] },
  { ask: 'many.data.jobs.mesos A +bufsize=1232 +ignore', must: ['flags: qr aa tc', 'ANSWER: 73'] },
  { ask: 'many.data.jobs.mesos A +bufsize=4096 +ignore', must: ['flags: qr aa rd', 'ANSWER: 200'] },
  { ask: 'many.data.jobs.mesos A', must: ['Truncated, retrying in TCP mode', 'ANSWER: 200', '(TCP)'] },
  { ask: '_many._tcp.data.jobs.mesos SRV +bufsize=4096 +ignore', must: ['flags: qr aa tc'], not: ['ADDITIONAL: 2'] },
  { ask: '_many._tcp.data.jobs.mesos SRV +tcp', must: ['ANSWER: 200', 'ADDITIONAL: 201'] },
]

t.test('dig', { skip: noDig }, async (t) => {
  const stage = await fixtureStage()
  const addresses = [parseIp('127.0.0.1'), parseIp('::1')]
  const server = await openDnsServer({ addresses, port: 0, zones: stage.zones, log: silentLog })
  t.teardown(() => server.close())
  const dig = async (args: readonly string[]) => {
    const { stdout } = await run('dig', ['+tries=3', '+time=5', '+nocookie', ...args])
    return stdout
  }
  for (const { address, port } of server.endpoints) {
    const at = [`@${address}`, '-p', String(port)]
    const check = async (extra: readonly string[], list: readonly Case[]) => {
      // Several at once: the time goes into starting dig.
      const outputs = await inTurns(list, ({ ask }) => dig([...at, ...extra, ...ask.split(' ')]))
      for (const [i, { ask, must, not }] of list.entries()) {
        const output = outputs[i] ?? ''
        const where = `${ask} ${extra} at ${address}`
        for (const text of must) t.match(output, pattern(text), `${where}: ${text}`)
        for (const text of not ?? []) t.notMatch(output, pattern(text), `${where}: not ${text}`)
        t.notMatch(output, /malformed|Warning: Message parser|extra bytes/i, `${ask}: well-formed`)
      }
    }
    await check([], cases)
    await check(['+tcp'], cases)
    await check([], sizes)
  }
  const first = new Set<string>()
  for (let i = 0; i < 6; i++) {
    const output = await dig([`@127.0.0.1`, '-p', String(server.endpoints[0]?.port), '+short', 'web.marathon.mesos'])
    first.add(output.split('\n')[0] ?? '')
  }
  t.equal(first.size, 3, 'each address comes first now and then')
})

const atOnce = 6

/** In the order of the list, a few at the same time. */
async function inTurns<Item, Result>(list: readonly Item[], run: (item: Item) => Promise<Result>) {
  const results: Result[] = []
  for (let i = 0; i < list.length; i += atOnce) {
    results.push(...(await Promise.all(list.slice(i, i + atOnce).map(run))))
  }
  return results
}

function pattern(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('%', '\\s+'))
}
