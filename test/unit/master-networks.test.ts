import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { parseNetworkName, parseNodeName } from '../../core/model/ids.ts'
import { lowestFreeSubnet, vipAddress, vtepMac } from '../../core/master/networks/allocate.ts'
import { decideCreateNetwork, decideRemoveNetwork } from '../../core/master/networks/networks.ts'
import { decideNode, decideRemoveNode } from '../../core/master/networks/nodes.ts'
import { type Profile, profileOf } from '../../core/master/networks/profile.ts'
import { decideVips, vipNames } from '../../core/master/networks/vips.ts'
import { openRegistrar, readRegistry } from '../../core/master/registry/registrar.ts'
import { type Decide, type RegistryChange } from '../../core/master/registry/state.ts'
import { noResources } from '../../core/model/resources.ts'
import { openMemoryStore } from '../../core/store/memory.ts'

const profile = profileOf('default', '4')

/** A registrar on an empty store, with helpers that speak in text. */
async function registry(ranges: Profile = profile) {
  const store = openMemoryStore()
  const committed: RegistryChange[] = []
  const open = async () =>
    openRegistrar(await readRegistry(store), { store, term: 0, onCommit: (change) => committed.push(change) })
  const registrar = await open()
  const create = (name: string, ...subnets: readonly string[]) =>
    registrar.apply(
      decideCreateNetwork(ranges, {
        name: parseNetworkName(name),
        ...(subnets.length === 0 ? {} : { subnets: subnets.map(parseCidr) }),
      }),
    )
  const node = (name: string, underlay: string, by: 'agent' | 'daemon' = 'agent') =>
    registrar.apply(decideNode(ranges, { name: parseNodeName(name), underlay: parseIp(underlay), by }))
  const subnetsOf = (name: string) =>
    registrar.state.nodes.get(parseNodeName(name))?.subnets.map(({ network, subnets }) => [network, ...subnets])
  return { registrar, store, committed, create, node, subnetsOf, reopen: open }
}

t.test('addresses of networks, nodes and VTEPs are the lowest free ones', async (t) => {
  const { registrar, create, node, subnetsOf, reopen, committed } = await registry()
  await create('dcos')
  await node('n1', '192.0.2.1')
  await Promise.all([node('n2', '192.0.2.2'), create('backend'), node('n3', '192.0.2.3')])
  t.same(
    [...registrar.state.networks.values()],
    [
      { name: 'dcos', vni: 1024, subnets: ['10.80.0.0/14'] },
      { name: 'backend', vni: 1025, subnets: ['10.84.0.0/16'] },
    ],
  )
  t.same(subnetsOf('n1'), [
    ['dcos', '10.80.0.0/24'],
    ['backend', '10.84.0.0/24'],
  ])
  t.same(subnetsOf('n3'), [
    ['dcos', '10.80.2.0/24'],
    ['backend', '10.84.2.0/24'],
  ])
  t.match(registrar.state.nodes.get(parseNodeName('n3'))?.vtep, { addresses: ['100.97.0.3'], mac: '70:b3:d5:61:00:03' })

  await registrar.apply(decideRemoveNode(parseNodeName('n2')))
  await registrar.apply(decideRemoveNetwork(parseNetworkName('backend')))
  await node('n4', '192.0.2.4')
  await create('later')
  t.same(subnetsOf('n4'), [
    ['dcos', '10.80.1.0/24'],
    ['later', '10.84.2.0/24'],
  ])
  t.match(
    registrar.state.nodes.get(parseNodeName('n4'))?.vtep.addresses,
    ['100.97.0.2'],
    'what was freed is used again',
  )
  t.equal(registrar.state.networks.get(parseNetworkName('later'))?.vni, 1025)

  const before = committed.length
  await node('n4', '192.0.2.4')
  t.equal(committed.length, before, 'a node that comes back as it was writes nothing')
  await node('n4', '192.0.2.44', 'daemon')
  t.match(registrar.state.nodes.get(parseNodeName('n4')), { underlay: '192.0.2.44', daemon: true })
  t.same((await reopen()).state, registrar.state, 'the store has all of it')
})

t.test('networks that can not be', async (t) => {
  const cases: readonly {
    readonly name: string
    readonly subnets: readonly string[]
    readonly code: string
    readonly says: RegExp
  }[] = [
    { name: 'dcos', subnets: ['10.200.0.0/16'], code: 'ERR_MASTER_NETWORK_EXISTS', says: /"dcos"/ },
    {
      name: 'x',
      subnets: ['10.80.4.0/22'],
      code: 'ERR_MASTER_NETWORK_OVERLAP',
      says: /10\.80\.0\.0\/14 of network "dcos"/,
    },
    { name: 'x', subnets: ['10.0.0.0/8'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /of network "dcos"/ },
    { name: 'x', subnets: ['192.0.2.0/24'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /underlay address of node "n1"/ },
    { name: 'x', subnets: ['100.96.0.0/20'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /VIPs/ },
    { name: 'x', subnets: ['100.97.0.0/22'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /VTEPs/ },
    { name: 'x', subnets: ['127.1.0.0/16'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /loopback/ },
    { name: 'x', subnets: ['169.254.0.0/16'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /link-local/ },
    { name: 'x', subnets: ['198.51.100.0/24'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /DNS/ },
    { name: 'x', subnets: ['239.0.0.0/8'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /multicast/ },
    { name: 'x', subnets: ['fe80::/64'], code: 'ERR_MASTER_NETWORK_OVERLAP', says: /link-local/ },
    {
      name: 'x',
      subnets: ['10.200.0.0/25'],
      code: 'ERR_MASTER_NETWORK_SUBNET',
      says: /too small: each node gets a \/24/,
    },
    {
      name: 'x',
      subnets: ['fd00:1::/96'],
      code: 'ERR_MASTER_NETWORK_SUBNET',
      says: /too small: each node gets a \/80/,
    },
    { name: 'x', subnets: ['10.200.0.0/16', '10.201.0.0/16'], code: 'ERR_MASTER_NETWORK_SUBNET', says: /one of each/ },
  ]
  const { registrar, create, node } = await registry()
  await create('dcos')
  await node('n1', '192.0.2.1')
  for (const { name, subnets, code, says } of cases) {
    await t.rejects(create(name, ...subnets), { code, message: says }, subnets.join())
  }
  t.equal(registrar.state.networks.size, 1)
  await t.rejects(registrar.apply(decideRemoveNetwork(parseNetworkName('x'))), { code: 'ERR_MASTER_NETWORK_UNKNOWN' })
  await create('both', '10.200.0.0/16', 'fd00:1::/64')
  t.same(registrar.state.nodes.get(parseNodeName('n1'))?.subnets.at(-1), {
    network: 'both',
    subnets: ['10.200.0.0/24', 'fd00:1::/80'],
  })
})

t.test('ranges that are used up', async (t) => {
  const small: Profile = { ...profile, vteps: [parseCidr('100.97.0.0/29')] }
  const { create, node, subnetsOf, registrar } = await registry(small)
  await create('dcos', '10.200.0.0/22')
  for (let i = 1; i <= 6; i++) await node(`n${i}`, `192.0.2.${i}`)
  t.same(subnetsOf('n4'), [['dcos', '10.200.3.0/24']])
  t.same(subnetsOf('n5'), [], 'a node without a part of the network is a node all the same')
  await t.rejects(node('n7', '192.0.2.7'), { code: 'ERR_MASTER_VTEPS_EXHAUSTED' })
  await registrar.apply(decideRemoveNode(parseNodeName('n2')))
  await node('n7', '192.0.2.7')
  t.same(subnetsOf('n7'), [['dcos', '10.200.1.0/24']])
  await t.rejects(
    registry(profileOf('dcos', '4')).then(async ({ create: make }) => {
      await make('dcos')
      await make('second')
    }),
    { code: 'ERR_MASTER_NETWORK_SUBNET', message: /no pool/ },
  )
  const many = await registry()
  for (let i = 0; i < 13; i++) await many.create(`net${i}`)
  await t.rejects(many.create('net13'), { code: 'ERR_MASTER_NETWORKS_EXHAUSTED' }, 'a /14 and twelve /16 fill a /12')
})

t.test('a write that fails leaves nothing', async (t) => {
  const { registrar, store, create, node, committed } = await registry()
  await create('dcos')
  store.full = true
  const both = await Promise.allSettled([node('n1', '192.0.2.1'), create('backend')])
  t.match(both, [{ reason: { code: 'ERR_STORE_FULL' } }, { reason: { code: 'ERR_STORE_FULL' } }])
  t.equal(registrar.state.nodes.size, 0)
  t.equal(registrar.state.networks.size, 1)
  t.equal(committed.length, 1, 'and nobody saw it')
  store.full = false
  const refuse: Decide = () => {
    throw new Error('no')
  }
  const some = await Promise.allSettled([node('n1', '192.0.2.1'), registrar.apply(refuse), node('n2', '192.0.2.2')])
  t.same(
    some.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
    'a refusal takes nothing with it',
  )
  t.equal((await store.list('nodes/')).size, 2)
})

t.test('VIP addresses', async (t) => {
  const { registrar } = await registry()
  const give = (ranges: Profile, framework: string, names: readonly string[], used = (_: string) => true) =>
    registrar.apply(decideVips(ranges, { framework, names }, { isInUse: used, nowMs: 1, sinceMs: 0 }))
  await give(profile, 'marathon', ['web', 'api'])
  await give(profile, 'other', ['web'])
  const addresses = [...registrar.state.vips.values()].map((vip) => vip.addresses[0])
  t.equal(new Set(addresses).size, 3)
  const [web] = registrar.state.vips.get('web.marathon')?.addresses ?? []
  await give(profile, 'marathon', ['web'])
  t.equal(registrar.state.vips.get('web.marathon')?.addresses[0], web, 'given once')
  const range = parseCidr('100.96.0.0/16')
  t.equal(vipAddress(range, 'web.marathon', new Set()), web, 'by the hash of its name')
  const next = vipAddress(range, 'web.marathon', new Set([parseIp(String(web))]))
  t.not(next, web, 'the next one when that is taken')
})

t.test('pure parts', async (t) => {
  t.equal(vtepMac(parseIp('44.128.0.1')), '70:b3:d5:80:00:01')
  const cases = [
    { range: '10.0.0.0/22', length: 24, taken: [], found: '10.0.0.0/24' },
    { range: '10.0.0.0/22', length: 24, taken: ['10.0.0.0/24', '10.0.2.0/24'], found: '10.0.1.0/24' },
    { range: '10.0.0.0/23', length: 24, taken: ['10.0.0.0/24', '10.0.1.0/24'], found: undefined },
    { range: 'fd00::/64', length: 80, taken: ['fd00::/80', '10.0.0.0/24'], found: 'fd00::1:0:0:0/80' },
  ]
  for (const { range, length, taken, found } of cases) {
    t.equal(lowestFreeSubnet(parseCidr(range), length, taken.map(parseCidr)), found)
  }
  const port = (labels: Record<string, string>) => ({ number: 1, protocols: ['tcp'] as const, labels })
  const discovery = {
    name: 'x',
    visibility: 'CLUSTER' as const,
    ports: [
      port({ VIP_0: '/web:80', vip_1: 'web:443', other: 'no:1' }),
      port({ VIP_0: '10.1.2.3:80', VIP_1: 'api:1' }),
    ],
  }
  const resources = { ...noResources, ports: [] }
  t.same(
    vipNames({ discovery, labels: {}, resources }),
    ['web', 'api'],
    'each name once; addresses are given, not allocated',
  )
  t.same(vipNames({ labels: {}, resources }), [])
})
