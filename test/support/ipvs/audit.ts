import { type Test } from 'tap'
import { parseIp } from '../../../core/base/ip.ts'
import { formatIpvsOp } from '../../../lb/ipvs/format.ts'
import { type IpvsOp } from '../../../lb/ipvs/ops.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { askServer, startServer } from '../lb-traffic.ts'
import { backend, makeWorld, pending, vip } from '../lb-world.ts'
import { makeHost } from '../hosts.ts'
import { openHostIpvs } from './plane.ts'

const { signal } = new AbortController()
const web = { address: parseIp(vip[4]), port: 80, protocol: 'tcp', scheduler: 'wlc' } as const
const first = { address: parseIp('10.80.0.11'), port: 8080, weight: 1 } as const
const foreign = { address: parseIp('192.0.2.50'), port: 99, protocol: 'tcp', scheduler: 'rr' } as const

/** What somebody does by hand, and what repairs it. */
const damages: readonly { readonly by: readonly IpvsOp[]; readonly repaired: readonly RegExp[] }[] = [
  {
    by: [{ kind: 'service.del', service: web }],
    repaired: [
      /^ipvsadm -A -t 100\.96\.0\.1:80 -s wlc$/,
      /^ipvsadm -a .* -r 10\.80\.0\.11:8080 -m -w 1$/,
      /-r 10\.80\.0\.12/,
    ],
  },
  {
    by: [{ kind: 'destination.set', service: web, destination: { ...first, weight: 7 } }],
    repaired: [/^ipvsadm -e -t 100\.96\.0\.1:80 -r 10\.80\.0\.11:8080 -m -w 1$/],
  },
  {
    by: [{ kind: 'destination.del', service: web, destination: first }],
    repaired: [/^ipvsadm -a -t 100\.96\.0\.1:80 -r 10\.80\.0\.11:8080 -m -w 1$/],
  },
  {
    by: [{ kind: 'destination.add', service: web, destination: { ...first, port: 99 } }],
    repaired: [/^ipvsadm -d -t 100\.96\.0\.1:80 -r 10\.80\.0\.11:99$/],
  },
  {
    by: [{ kind: 'service.set', service: { ...web, scheduler: 'sh' } }],
    repaired: [/^ipvsadm -E -t 100\.96\.0\.1:80 -s wlc$/],
  },
  {
    by: [{ kind: 'service.add', service: { ...web, port: 4444 } }],
    repaired: [/^ipvsadm -D -t 100\.96\.0\.1:4444$/],
  },
]

/** Audits repair what differs in IPVS, its settings and the rules beside it; others' services stay. */
export async function auditSuite(t: Test): Promise<void> {
  const { node, program, audit } = await makeWorld(t, { containers: 'none', dataPlane: 'ipvs' })
  const table = openIpvsTable({ netns: node.path })
  t.teardown(() => table.close())
  await table.perform([{ kind: 'service.add', service: foreign }], { signal })
  await program([backend('b1'), backend('b2'), pending])
  t.same(await audit(), [], 'nothing to do')
  for (const { by, repaired } of damages) {
    await table.perform(by, { signal })
    const what = by.map(formatIpvsOp).join('; ')
    const repairs = await audit()
    t.equal(repairs.length, repaired.length, `${what}: ${repairs.join('; ')}`)
    t.match(repairs, repaired, what)
    t.same(await audit(), [], 'and then nothing is left to do')
  }
  node.run('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/vs/expire_nodest_conn')
  table.setTimeouts({ tcpSeconds: 900, tcpFinSeconds: 120, udpSeconds: 300 })
  node.run('nft', 'flush set inet weft lb-address4')
  t.match(await audit(), [
    'sysctl -w net/ipv4/vs/expire_nodest_conn=1',
    'ipvsadm --set 432000 120 300',
    /^nft add element inet weft lb-address4 /,
  ])
  await program([])
  const left = table.read().entries.map(({ service }) => service.address)
  t.notMatch(left, [vip[4]], 'gone with the last task')
  t.ok(left.includes(foreign.address), "others' services stay")
}

/** What others have is told once, and again when it changes; errors of the kernel are told with the command. */
export async function foreignSuite(t: Test): Promise<void> {
  const host = makeHost('foreign')
  t.teardown(host.remove)
  const told: (readonly string[])[] = []
  const plane = openHostIpvs(t, { host, onForeign: (entries) => told.push(entries) })
  const table = openIpvsTable({ netns: host.path })
  t.teardown(() => table.close())
  await plane.repair([], { signal })
  await table.perform([{ kind: 'service.add', service: foreign }], { signal })
  for (let i = 0; i < 3; i++) t.same(await plane.repair([], { signal }), [], 'nothing of ours differs')
  t.same(told, [['-t 192.0.2.50:99']])
  await t.rejects(table.perform([{ kind: 'service.add', service: foreign }], { signal }), {
    errors: [{ code: 'ERR_NETLINK_EEXIST', message: /^ipvsadm -A -t 192\.0\.2\.50:99 -s rr: / }],
  })
  const unknown: IpvsOp = { kind: 'service.add', service: { ...web, scheduler: 'none-such' } }
  await t.rejects(table.perform([unknown], { signal }), { errors: [{ code: 'ERR_NETLINK_ENOENT' }] })
}

/** Balanced packets do not pass hook forward: networks are apart all the same. */
export async function isolationSuite(t: Test): Promise<void> {
  const { node, host, program } = await makeWorld(t, { containers: 'all', dataPlane: 'ipvs' })
  await startServer(host('b1'), 'b1', 8080)
  await program([backend('b1')])
  for (const family of [4, 6] as const) {
    const target = { protocol: 'tcp', address: vip[family], port: 80, timeoutMs: 700 } as const
    t.match(askServer(host('other'), target), [{ error: 'TIMEOUT' }], 'a VIP of another network')
    t.match(askServer(host('client'), { ...target, timeoutMs: 5000 }), [{ server: 'b1' }], 'one of the own network')
  }
  const counted = node.run('nft', 'list', 'chain', 'inet', 'weft', 'iso-balanced')
  t.match(counted, /saddr @iso-network4 ip daddr @iso-network4 counter packets [1-9]/, 'drops are counted')
}
