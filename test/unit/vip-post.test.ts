import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { masterRoutes } from '../../core/master/http/routes.ts'
import { decideNode } from '../../core/master/networks/nodes.ts'
import { vipProblem } from '../../core/master/networks/vip-problem.ts'
import { parseNodeName } from '../../core/model/ids.ts'
import { openServices } from '../../core/services/services.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startMaster } from '../support/master.ts'

/** The whole way of a POST: services, the master's registry and its ranges. */
async function open(t: Test) {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const { context, driver } = master
  const cluster = {
    hostname: 'master1',
    networkNames: () => new Set(context.registrar.state.networks.keys()),
    vipProblem: (vip: Parameters<typeof vipProblem>[1], framework: string) => vipProblem(context, vip, framework),
    version: () => context.keeper.version(),
    leader: () => 'master1:5050',
  }
  const services = await openServices({ driver, store, term: 1, clock: systemClock, log: silentLog, cluster })
  const app = Fastify()
  await app.register(services.routes)
  await app.register(masterRoutes({ context, version: '0', advertised: () => 'master1:5050' }))
  t.teardown(async () => {
    await app.close()
    await services.close()
    await master.crash()
  })
  const send = async (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) => {
    const answer = await app.inject({ method, url, ...(payload && { payload }) })
    return { status: answer.statusCode, body: answer.json() }
  }
  const kept = async () => JSON.stringify([...(await store.list('')).entries()].map(([key, { value }]) => [key, value]))
  return { send, kept, context }
}

const onPort = (VIP_0: string, more: Record<string, string> = {}, port: object = {}) => ({
  ...{ id: '/bad', cmd: 'x', networks: [{ mode: 'container', name: 'dcos' }] },
  container: { portMappings: [{ containerPort: 80, labels: { VIP_0, ...more }, ...port }] },
})
const onApp = (key: string, value: string) => ({ ...onPort('/fine:80'), labels: { [key]: value } })
const path = '/container/portMappings(0)/labels(VIP_0)'

const refused: readonly (readonly [string, object, string, RegExp])[] = [
  ['no port', onPort('/web'), path, /has no port/],
  ['port 0', onPort('/web:0'), path, /1 to 65535/],
  ['port 65536', onPort('/web:65536'), path, /1 to 65535/],
  ['leading zeros in the port', onPort('/web:080'), path, /leading zeros/],
  ['64 characters', onPort(`/${'a'.repeat(64)}:80`), path, /64 characters/],
  ['unicode', onPort('/bücher:80'), path, /"ü"/],
  ['IPv6 without brackets', onPort('fd00::1:80'), path, /\[fd00::1\]:80/],
  ['malformed IPv6', onPort('[fd00::g]:80'), path, /no address/],
  ['leading zeros in IPv4', onPort('192.0.2.01:80'), path, /no address/],
  ['the address of a node', onPort('192.0.2.77:80'), path, /the address of node "n7"/],
  ['the address of a VTEP', onPort('100.97.0.2:80'), path, /VTEP address of node "n7"/],
  ['in a network', onPort('10.81.0.1:80'), path, /10\.80\.0\.0\/14, the range of network "dcos"/],
  ['in an IPv6 network', onPort('[fd57:4546:5400::9]:80'), path, /network "dcos"/],
  ['the DNS server', onPort('198.51.100.1:80'), path, /DNS/],
  ['loopback', onPort('127.0.0.1:80'), path, /loopback/],
  ['multicast', onPort('224.0.0.1:80'), path, /multicast/],
  ['in the range of named VIPs', onPort('100.96.1.1:80'), path, /weft vip create/],
  [
    'another scheduler',
    onPort('/taken:80', { 'lb-scheduler': 'rr' }),
    path,
    /otherwise than with tcp and scheduler rr by/,
  ],
  ['another protocol', onPort('/taken:80', {}, { protocol: 'udp' }), path, /otherwise than with udp/],
  [
    'an unknown scheduler',
    onPort('/web:80', { 'lb-scheduler': 'x' }),
    path.replace('VIP_0', 'lb-scheduler'),
    /none of/,
  ],
  ...['-1', '1.5', '3601', '30s', ''].map((text): (typeof refused)[number] => [
    `a drain time of "${text}"`,
    onPort('/web:80', { 'lb-drain-seconds': text }),
    path.replace('VIP_0', 'lb-drain-seconds'),
    /whole number of seconds/,
  ]),
  ['a label of the app without protocol', onApp('VIP_PORT0', '/w:80'), '/labels(VIP_PORT0)', /tcp:\/\//],
  ['a port that is not there', onApp('VIP_PORT1', 'tcp://w:80'), '/labels(VIP_PORT1)', /has 1 ports/],
  ['a protocol of no such port', onApp('VIP_PORT0', 'udp://w:80'), '/labels(VIP_PORT0)', /is tcp, not udp/],
  [
    'an address in a label of the app',
    onApp('VIP_PORT0', 'tcp://10.81.0.1:80'),
    '/labels(VIP_PORT0)',
    /network "dcos"/,
  ],
]

t.test('what can be no VIP is refused with its place and reason, and nothing changes', async (t) => {
  const { send, kept, context } = await open(t)
  const wish = { name: parseNodeName('n7'), underlay: parseIp('192.0.2.77'), by: 'daemon' } as const
  await context.registrar.apply(decideNode(context.profile, wish))
  t.match(await send('POST', '/v2/apps', { ...onPort('/taken:80'), id: '/first' }), { status: 201 })
  const before = await kept()
  for (const [name, body, where, says] of refused) {
    const details = [{ path: where, errors: [says] }]
    t.match(await send('POST', '/v2/apps', body), { status: 422, body: { details } }, name)
  }
  t.equal(await kept(), before)
  const fine = { ...onPort('[fd00::1]:80', { VIP_1: '/taken:80', VIP_2: '192.0.2.1:80' }), id: '/fine' }
  t.match(await send('POST', '/v2/apps', fine), { status: 201 }, 'several on one port, one shared')
  t.match(await send('POST', '/v2/apps', { ...onApp('VIP_PORT0', 'tcp://w:80'), id: '/fine2' }), { status: 201 })
})

t.test('reserved addresses by the API, and a range that is used up', async (t) => {
  const { send, context } = await open(t)
  const shop = { name: 'shop', addresses: ['100.96.7.7'] }
  t.match(await send('POST', '/weft/v1/vips', shop), { status: 201, body: { addresses: ['100.96.7.7', /^fd/] } })
  const bad: readonly (readonly [object, number, RegExp])[] = [
    [{ name: 'Shop' }, 422, /name/],
    [{ name: 'other', addresses: ['100.96.7.7'] }, 409, /shop\.marathon/],
    [{ name: 'other', addresses: ['192.0.2.1'] }, 422, /outside/],
    [{ name: 'other', addresses: ['100.96.7.300'] }, 422, /addresses/],
    [{ name: 'other', more: 1 }, 422, /more/],
  ]
  for (const [body, status, message] of bad)
    t.match(await send('POST', '/weft/v1/vips', body), { status, body: { message } })
  t.match(await send('GET', '/weft/v1/vips'), { body: { vips: [], all: [{ name: 'shop', state: 'reserved' }] } })
  t.match(await send('DELETE', '/weft/v1/vips/shop.marathon'), { body: { state: 'resting' } })
  t.match(await send('DELETE', '/weft/v1/vips/shop.marathon'), { body: { state: 'forgotten' } })
  t.match(await send('DELETE', '/weft/v1/vips/shop.marathon'), { status: 404 })
  const vips = new Map(
    Array.from({ length: 65_534 }, (_, i) => {
      const addresses = [parseIp(`100.96.${(i + 1) >> 8}.${(i + 1) & 255}`)]
      return [`n${i}.m`, { name: `n${i}`, framework: 'm', addresses, reserved: true }] as const
    }),
  )
  await context.registrar.apply(() => ({ vips }))
  const body = { details: [{ path, errors: [/all 65534 addresses of 100\.96\.0\.0\/16.*weft vip list/] }] }
  t.match(await send('POST', '/v2/apps', onPort('/late:80')), { status: 422, body })
})
