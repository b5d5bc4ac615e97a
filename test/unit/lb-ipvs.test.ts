import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type RealServer, type VirtualServer } from '../../lb/dataplane.ts'
import { formatIpvsOp } from '../../lb/ipvs/format.ts'
import { guardElements } from '../../lb/ipvs/guard.ts'
import { ipvsAttrs, ipvsRequest, toIpvsDestination, toIpvsService } from '../../lb/ipvs/messages.ts'
import { type IpvsEntry, type IpvsOp } from '../../lb/ipvs/ops.ts'
import { ipvsEntry, ipvsState, planIpvs } from '../../lb/ipvs/plan.ts'
import { desiredSettings, planSettings } from '../../lb/ipvs/settings.ts'
import { decodeAttrs } from '../../networking/netlink/attr.ts'
import { genericRequest } from '../../networking/netlink/genl.ts'
import { Writer } from '../../networking/netlink/writer.ts'

const web = { address: parseIp('100.96.0.1'), port: 80, protocol: 'tcp', scheduler: 'wlc' } as const
const dns = { address: parseIp('fd01:c::1'), port: 53, protocol: 'udp', scheduler: 'rr' } as const
const b1 = { address: parseIp('10.80.0.11'), port: 8080, weight: 1 }
const six = { address: parseIp('fd01:b::11'), port: 5353, weight: 3 }

/** The ops of fixtures/ipvs/capture.ts, in its order. */
const ops: readonly IpvsOp[] = [
  { kind: 'service.add', service: web },
  { kind: 'service.add', service: dns },
  { kind: 'service.add', service: { ...web, address: parseIp('100.96.0.2'), scheduler: 'mh' } },
  { kind: 'service.set', service: { ...web, scheduler: 'lc' } },
  { kind: 'destination.add', service: web, destination: b1 },
  { kind: 'destination.add', service: dns, destination: six },
  { kind: 'destination.set', service: web, destination: { ...b1, weight: 0 } },
  { kind: 'destination.del', service: web, destination: b1 },
  { kind: 'service.del', service: web },
]

const captured: readonly { readonly command: string; readonly hex: string }[] = JSON.parse(
  readFileSync(new URL('../fixtures/ipvs/vectors.json', import.meta.url), 'utf8'),
)
/** `struct nlmsghdr` and `struct genlmsghdr`. */
const headerBytes = 20

t.test('requests are those that ipvsadm sends', async (t) => {
  t.equal(captured.length, ops.length)
  for (const [i, op] of ops.entries()) {
    const { command = '', hex = '' } = captured[i] ?? {}
    t.equal(
      formatIpvsOp(op),
      command.replace(/ -m -w \d$/, (tail) => (op.kind === 'destination.del' ? '' : tail)),
    )
    const writer = new Writer(512)
    genericRequest(ipvsRequest({ id: 21, version: 1 }, op)).write(writer)
    const theirs = Buffer.from(hex, 'hex')
    const ours = writer.buffer.subarray(0, writer.length)
    t.same(ours.subarray(0, 2), theirs.subarray(16, 18), `${command}: command and version`)
    if (op.kind === 'service.add' || op.kind === 'service.set') {
      t.same(ours.toString('hex'), theirs.subarray(16).toString('hex'), `${command}: octet by octet`)
    }
    // Where ipvsadm tells more than the kernel looks at: what we tell is the same.
    t.match(decodeAttrs(ipvsAttrs, theirs.subarray(headerBytes)), decodeAttrs(ipvsAttrs, ours.subarray(4)), command)
  }
})

t.test('entries of the kernel', async (t) => {
  const service = decodeAttrs(ipvsAttrs, Buffer.from(captured[0]?.hex ?? '', 'hex').subarray(headerBytes)).service ?? {}
  t.same(toIpvsService(service), web)
  t.same(toIpvsService({ ...service, flags: { flags: 2, mask: 0 } }), web, 'hashed: a flag of the kernel itself')
  t.same(toIpvsService({ ...service, flags: { flags: 4, mask: 0 } }), { ...web, odd: true }, 'one-packet: not by us')
  t.equal(toIpvsService({ ...service, fwmark: 7 }), undefined, 'by mark: of others')
  t.equal(toIpvsService({ ...service, protocol: 132 }), undefined, 'SCTP: of others')
  t.throws(() => toIpvsDestination({ port: 1 }), { code: 'ERR_IPVS_REPLY' })
})

const virtual = (backends: readonly RealServer[], more: Partial<VirtualServer> = {}): VirtualServer => {
  return { address: web.address, port: 80, protocol: 'tcp', backends, ...more }
}
const b2 = { ...b1, address: parseIp('10.80.0.12') }
const draining = { ...b1, weight: 0 }
const vip = '-t 100.96.0.1:80'
const [first, second] = ['10.80.0.11:8080', '10.80.0.12:8080']
const odd = (entry: IpvsEntry): IpvsEntry => ({ ...entry, service: { ...entry.service, odd: true } })

const plans: readonly {
  readonly name: string
  readonly before?: IpvsEntry
  readonly after?: VirtualServer
  readonly ops: readonly string[]
}[] = [
  { name: 'new', after: virtual([b1]), ops: [`ipvsadm -A ${vip} -s wlc`, `ipvsadm -a ${vip} -r ${first} -m -w 1`] },
  { name: 'same', before: ipvsEntry(virtual([b1])), after: virtual([b1]), ops: [] },
  {
    name: 'replaced: the new one comes before the old one goes',
    before: ipvsEntry(virtual([b1])),
    after: virtual([b2]),
    ops: [`ipvsadm -a ${vip} -r ${second} -m -w 1`, `ipvsadm -d ${vip} -r ${first}`],
  },
  {
    name: 'draining over TCP: weight 0',
    before: ipvsEntry(virtual([b1])),
    after: virtual([draining, b2]),
    ops: [`ipvsadm -a ${vip} -r ${second} -m -w 1`, `ipvsadm -e ${vip} -r ${first} -m -w 0`],
  },
  {
    name: 'draining over UDP: taken out',
    before: ipvsEntry(virtual([b1], { protocol: 'udp' })),
    after: virtual([draining], { protocol: 'udp' }),
    ops: [`ipvsadm -d -u 100.96.0.1:80 -r ${first}`],
  },
  {
    name: 'another scheduler',
    before: ipvsEntry(virtual([b1])),
    after: virtual([b1], { scheduler: 'sh' }),
    ops: [`ipvsadm -E ${vip} -s sh -b sh-fallback`],
  },
  {
    name: 'flags that somebody set',
    before: odd(ipvsEntry(virtual([b1]))),
    after: virtual([b1]),
    ops: [`ipvsadm -E ${vip} -s wlc`],
  },
  {
    name: 'a destination that somebody made direct',
    before: { ...ipvsEntry(virtual([])), destinations: [{ ...b1, odd: true }] },
    after: virtual([b1]),
    ops: [`ipvsadm -e ${vip} -r ${first} -m -w 1`],
  },
  { name: 'gone', before: ipvsEntry(virtual([b1])), ops: [`ipvsadm -D ${vip}`] },
]

t.test('plans', async (t) => {
  for (const { name, before, after, ops: expected } of plans) {
    const planned = planIpvs(ipvsState(before ? [before] : []), ipvsState(after ? [ipvsEntry(after)] : []))
    t.same(planned.map(formatIpvsOp), expected, name)
  }
})

t.test('beside IPVS', async (t) => {
  const local = { ...b1, local: true } as const
  t.same(
    guardElements(virtual([local, b2])).map(({ set, key }) => `${set} ${key}`),
    ['lb-address4 100.96.0.1', 'lb-hairpin4 10.80.0.11 . 10.80.0.11'],
  )
  t.same(
    guardElements(virtual([draining])).map(({ set }) => set),
    ['lb-address4', 'lb-none4'],
  )
})

t.test('settings', async (t) => {
  const settingOf = (release: string, name: string) =>
    desiredSettings(release).find((setting) => setting.name === `net/ipv4/vs/${name}`)?.value
  t.equal(settingOf('6.1.0-18-amd64', 'conn_reuse_mode'), '1')
  t.equal(settingOf('5.10.0', 'conn_reuse_mode'), '1')
  t.equal(settingOf('5.8.18', 'conn_reuse_mode'), '0')
  t.equal(settingOf('4.19.0', 'conn_reuse_mode'), '0')
  const kernel = new Map(desiredSettings('6.1').map(({ name, value }) => [name, value]))
  kernel.set('net/ipv4/vs/conntrack', '0')
  kernel.delete('net/ipv4/vs/sloppy_tcp')
  t.same(planSettings({ read: (name) => kernel.get(name) }, '6.1'), [{ name: 'net/ipv4/vs/conntrack', value: '1' }])
})
