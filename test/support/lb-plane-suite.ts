import { type Test } from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type DataPlane, formatVirtualServerKey, type RealServer, type VirtualServer } from '../../lb/dataplane.ts'

const { signal } = new AbortController()
const real = (address: string, weight = 1, more: { readonly local?: true } = {}): RealServer => ({
  address: parseIp(address),
  port: 8080,
  weight,
  ...more,
})
const virtual = (address: string, backends: readonly RealServer[], port = 80): VirtualServer => ({
  address: parseIp(address),
  port,
  protocol: 'tcp',
  backends,
})
const web = (...backends: readonly RealServer[]) => virtual('100.96.0.1', backends)
const udp = { ...web(real('10.80.0.1')), protocol: 'udp' } as const
const six = virtual('fd01:c::1', [real('fd01:b::1', 1, { local: true }), real('fd01:b::2')])

/** Steps, each from where the one before it led. */
const steps: readonly {
  readonly name: string
  readonly ensure?: readonly VirtualServer[]
  readonly remove?: readonly VirtualServer[]
  readonly servers: readonly VirtualServer[]
}[] = [
  { name: 'one backend', ensure: [web(real('10.80.0.1'))], servers: [web(real('10.80.0.1'))] },
  { name: 'the same again', ensure: [web(real('10.80.0.1'))], servers: [web(real('10.80.0.1'))] },
  {
    name: 'three',
    ensure: [web(real('10.80.0.1'), real('10.80.0.2'), real('10.80.0.3'))],
    servers: [web(real('10.80.0.1'), real('10.80.0.2'), real('10.80.0.3'))],
  },
  {
    name: 'the first drains',
    ensure: [web(real('10.80.0.1', 0), real('10.80.0.2'), real('10.80.0.3'))],
    servers: [web(real('10.80.0.1', 0), real('10.80.0.2'), real('10.80.0.3'))],
  },
  {
    name: 'it goes',
    ensure: [web(real('10.80.0.2'), real('10.80.0.3', 0))],
    servers: [web(real('10.80.0.2'), real('10.80.0.3', 0))],
  },
  {
    name: 'weights, in turn',
    ensure: [{ ...web(real('10.80.0.2', 3), real('10.80.0.3', 0), real('10.80.0.4')), scheduler: 'wrr' }],
    servers: [{ ...web(real('10.80.0.2', 3), real('10.80.0.3', 0), real('10.80.0.4')), scheduler: 'wrr' }],
  },
  {
    name: 'by source',
    ensure: [{ ...web(real('10.80.0.2', 1), real('10.80.0.3', 2)), scheduler: 'sh' }],
    servers: [{ ...web(real('10.80.0.2', 1), real('10.80.0.3', 2)), scheduler: 'sh' }],
  },
  { name: 'none serves', ensure: [web(real('10.80.0.2', 0))], servers: [web(real('10.80.0.2', 0))] },
  { name: 'nobody left', ensure: [web()], servers: [web()] },
  {
    name: 'other protocol, other port, other family',
    ensure: [udp, virtual('100.96.0.1', [real('10.80.0.1')], 81), six],
    servers: [web(), udp, virtual('100.96.0.1', [real('10.80.0.1')], 81), six],
  },
  {
    name: 'one of an address goes, another comes',
    remove: [web()],
    ensure: [web(real('10.80.0.9', 1, { local: true }))],
    servers: [udp, virtual('100.96.0.1', [real('10.80.0.1')], 81), six, web(real('10.80.0.9', 1, { local: true }))],
  },
  {
    name: 'removed twice',
    remove: [udp, udp, six],
    servers: [virtual('100.96.0.1', [real('10.80.0.1')], 81), web(real('10.80.0.9', 1, { local: true }))],
  },
  { name: 'all removed', remove: [web(), virtual('100.96.0.1', [], 81)], servers: [] },
]

const sorted = (servers: readonly VirtualServer[]) =>
  servers.toSorted((a, b) => (formatVirtualServerKey(a) < formatVirtualServerKey(b) ? -1 : 1))

/** What every data plane passes: test/conformance/lb-dataplane.test.ts, and test/kernel/lb-ipvs.test.ts for IPVS. */
export async function dataPlaneSuite(t: Test, plane: DataPlane): Promise<void> {
  t.same(await plane.read({ signal }), [], 'empty at first')
  for (const { name, ensure = [], remove = [], servers } of steps) {
    const ops = [
      ...remove.map((server) => ({ kind: 'server.remove', server }) as const),
      ...ensure.map((server) => ({ kind: 'server.ensure', server }) as const),
    ]
    await plane.apply(ops, { signal })
    t.same(sorted(await plane.read({ signal })), sorted(servers), name)
    t.same(await plane.repair(servers, { signal }), [], `${name}: nothing to repair`)
  }
  t.ok((await plane.repair([six, udp], { signal })).length > 0, 'a repair makes it what is wanted')
  t.same(sorted(await plane.read({ signal })), sorted([six, udp]))
  t.ok((await plane.repair([], { signal })).length > 0)
  t.same(await plane.read({ signal }), [])
  await t.rejects(plane.repair([six], { signal: AbortSignal.abort() }), { name: 'AbortError' })
}
