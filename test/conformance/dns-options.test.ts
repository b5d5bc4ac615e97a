import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type Logger, silentLog } from '../../core/base/log.ts'
import { logQueries } from '../../discovery/server/query-log.ts'
import { makeResponder } from '../../discovery/server/respond.ts'
import { openDnsServer } from '../../discovery/server/server.ts'
import { makeTransfer } from '../../discovery/server/transfer.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { fixtureStage } from '../fixtures/dns/zones.ts'

const run = promisify(execFile)
const noDig: string | false =
  spawnSync('dig', ['-v']).error === undefined ? false : 'needs dig (Debian: bind9-dnsutils)'

const clusterKey = 'q'.repeat(52)

/** Question by an older name; a pattern for the answer as the client must see it. */
const renamed: readonly (readonly [string, RegExp])[] = [
  [
    'web.marathon.dclb.thisdcos.directory A',
    /^web\.marathon\.dclb\.thisdcos\.directory\.\s+5\s+IN\s+A\s+100\.96\.0\.1$/m,
  ],
  ['web.marathon.dclb.thisdcos.global AAAA', /^web\.marathon\.dclb\.thisdcos\.global\.\s+5\s+IN\s+AAAA\s+fd00:96::1$/m],
  ['wEb.marathon.L4LB.thisDCOS.Global A', /^wEb\.marathon\.L4LB\.thisDCOS\.Global\.\s.*100\.96\.0\.1$/m],
  [
    `web.marathon.l4lb.${clusterKey}.dcos.directory A`,
    new RegExp(`^web\\.marathon\\.l4lb\\.${clusterKey}\\.dcos\\.directory\\.\\s.*A\\s+100\\.96\\.0\\.1$`, 'm'),
  ],
  ['host-a.node.thisdcos.global A', /^host-a\.node\.thisdcos\.global\..*192\.0\.2\.1$/m],
  ['web.marathon.mesos.thisdcos.directory A', /^web\.marathon\.mesos\.thisdcos\.directory\..*10\.80\.0\.2$/m],
  [
    '_web._tcp.marathon.mesos.thisdcos.directory SRV',
    /SRV\s+0 1 31001 web-e844k-s0\.marathon\.slave\.mesos\.thisdcos\.directory\.$/m,
  ],
  [
    '_web._tcp.marathon.mesos.thisdcos.directory SRV',
    /^web-e844k-s0\.marathon\.slave\.mesos\.thisdcos\.directory\.\s.*A\s+192\.0\.2\.1$/m,
  ],
  [
    'mesos.thisdcos.directory SOA',
    /^mesos\.thisdcos\.directory\.\s.*SOA\s+ns1\.mesos\.thisdcos\.directory\. root\.ns1\.mesos\.thisdcos\.directory\. 7 /m,
  ],
  ['mesos.thisdcos.directory NS', /^mesos\.thisdcos\.directory\.\s.*NS\s+ns1\.mesos\.thisdcos\.directory\.$/m],
  ['nope.dclb.thisdcos.global A', /status: NXDOMAIN[\s\S]*^thisdcos\.global\.\s+1\s+IN\s+SOA\s+ns\.spartan\./m],
  [
    'registry.component.thisdcos.global A',
    /CNAME\s+web\.marathon\.l4lb\.thisdcos\.global\.$[\s\S]*^web\.marathon\.l4lb\.thisdcos\.global\..*A\s+100\.96\.0\.1$/m,
  ],
  [
    'registry.component.thisdcos.directory A',
    /CNAME\s+web\.marathon\.l4lb\.thisdcos\.directory\.$[\s\S]*A\s+100\.96\.0\.1$/m,
  ],
  [
    'registry.component.thisdcos.directory CNAME',
    /ANSWER: 1,[\s\S]*CNAME\s+web\.marathon\.l4lb\.thisdcos\.directory\.$/m,
  ],
  ['component.thisdcos.directory SOA', /^component\.thisdcos\.directory\.\s.*SOA/m],
]

const name = parseName
const config = {
  clusterKey,
  aliasZones: [
    {
      apex: name('component.thisdcos.directory'),
      aliases: [
        { owner: name('registry.component.thisdcos.directory'), target: name('web.marathon.l4lb.thisdcos.directory') },
      ],
    },
  ],
}

t.test('older names, transfers, version, query log', { skip: noDig }, async (t) => {
  const { zones } = await fixtureStage(config)
  const lines: unknown[] = []
  const log: Logger = { ...silentLog, info: (fields) => lines.push(fields) }
  const respond = logQueries(makeResponder({ zones, log, versionText: 'weft 1' }), log, () => 0)
  const addresses = [parseIp('127.0.0.1'), parseIp('::1')]
  const transfer = makeTransfer(zones, [parseCidr('127.0.0.0/8')])
  const server = await openDnsServer({ addresses, port: 0, zones, log: silentLog, respond, transfer })
  t.teardown(() => server.close())
  const dig = async (at: number, words: string) => {
    const { address, port } = server.endpoints[at] ?? { address: '127.0.0.1', port: 0 }
    const fixed = [`@${address}`, '-p', String(port), '+tries=3', '+time=5', '+nocookie']
    const { stdout } = await run('dig', [...fixed, ...words.split(' ')], { maxBuffer: 1 << 24 })
    return stdout
  }

  await t.test('older names', async (t) => {
    for (const [ask, pattern] of renamed) {
      t.match(await dig(0, ask), pattern, ask)
      t.match(await dig(1, `${ask} +tcp`), pattern, `${ask} over TCP and IPv6`)
      t.match(await dig(0, ask), pattern, `${ask} again`)
    }
  })

  await t.test('a zone transfer has every record of the zone', async (t) => {
    const lines = (await dig(0, 'mesos AXFR +onesoa')).split('\n').filter((line) => /\sIN\s/.test(line))
    const expected = [...zones.owners()].filter(([key]) => key.endsWith('.mesos.')).flatMap(([, rrsets]) => rrsets)
    const count = expected.reduce((sum, { data }) => sum + data.length, 0)
    t.equal(lines.length, count + 2, 'all records, the SOA and the NS of the apex')
    t.ok(lines.some((line) => /^many\.data\.jobs\.mesos\..*10\.81\.0\.200$/.test(line)))
    t.notMatch(lines.join('\n'), /thisdcos|arpa/)
    t.match(await dig(1, 'mesos AXFR'), /Transfer failed/, 'refused to others')
    t.match(await dig(0, 'web.marathon.mesos AXFR'), /Transfer failed/, 'no zone')
    t.match(await dig(0, 'mesos AXFR +notcp'), /Transfer failed|SOA/)
  })

  await t.test('version', async (t) => {
    t.match(await dig(0, 'version.bind TXT CH'), /NOERROR[\s\S]*CH\s+TXT\s+"weft 1"/)
    t.match(await dig(0, 'authors.bind TXT CH'), /REFUSED/)
    t.match(await dig(0, 'version.bind A CH'), /REFUSED/)
  })

  t.same(lines[0], {
    name: 'web.marathon.dclb.thisdcos.directory.',
    type: 'A',
    rcode: 'NOERROR',
    answers: 1,
    truncated: false,
    transport: 'udp',
    ms: 0,
  })
})
