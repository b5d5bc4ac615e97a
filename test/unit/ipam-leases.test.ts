import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { silentLog } from '../../core/base/log.ts'
import { type LeaseRequest, openLeases } from '../../networking/ipam/leases.ts'
import { pickAddress, poolCapacity, subnetOfWish } from '../../networking/ipam/pool.ts'

const small = parseCidr('10.80.1.0/29') // .2 to .6: five containers
const six = parseCidr('fd00:77::/64')

function request(container: string, subnets: readonly Cidr[] = [small], wanted: readonly string[] = []): LeaseRequest {
  const rest = { mac: '02:00:00:00:00:01', hostLink: `wfc${container}`, wanted: wanted.map(parseIp) }
  return { network: 'dcos', container, ifname: 'eth0', subnets, ...rest }
}

async function place(t: { teardown(fn: () => unknown): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'wft-ipam-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'state', 'leases.jsonl')
}

const open = (path: string, bootId = 'boot-1') => openLeases({ path, bootId, log: silentLog })

t.test('pool picks the next address', async (t) => {
  const cases: readonly {
    name: string
    subnet: Cidr
    used: readonly string[]
    resting: readonly string[]
    cursor: bigint
    address: string | undefined
  }[] = [
    { name: 'first', subnet: small, used: [], resting: [], cursor: 2n, address: '10.80.1.2' },
    { name: 'IPv6 first', subnet: six, used: [], resting: [], cursor: 2n, address: 'fd00:77::2' },
    { name: 'skips used', subnet: small, used: ['10.80.1.2'], resting: [], cursor: 2n, address: '10.80.1.3' },
    {
      name: 'fresh before rested',
      subnet: small,
      used: [],
      resting: ['10.80.1.2', '10.80.1.4'],
      cursor: 3n,
      address: '10.80.1.3',
    },
    {
      name: 'oldest rest',
      subnet: small,
      used: [],
      resting: ['10.80.1.5', '10.80.1.2'],
      cursor: 7n,
      address: '10.80.1.5',
    },
    { name: 'forgotten', subnet: small, used: ['10.80.1.2'], resting: [], cursor: 7n, address: '10.80.1.3' },
    {
      name: 'no room at all',
      subnet: parseCidr('10.80.1.0/31'),
      used: [],
      resting: [],
      cursor: 2n,
      address: undefined,
    },
  ]
  for (const { name, subnet, used, resting, cursor, address } of cases) {
    const pick = pickAddress({
      subnet,
      cursor,
      resting: new Set(resting.map(parseIp)),
      isUsed: (ip: Ip) => used.includes(ip),
    })
    t.equal(pick?.address, address, name)
  }
  t.equal(poolCapacity(small), 5n)
  t.equal(poolCapacity(parseCidr('10.80.1.0/32')), 0n)
  for (const reserved of ['10.80.1.0', '10.80.1.1', '10.80.1.7', '10.80.2.2', 'fd00:77::1']) {
    t.throws(() => subnetOfWish(parseIp(reserved), [small, six]), { code: 'ERR_IPAM_OUTSIDE' }, reserved)
  }
})

t.test('leases survive, rest and run out', async (t) => {
  const path = await place(t)
  let leases = await open(path)
  t.same(
    (await leases.allocate(request('a', [small, six]))).addresses,
    ['10.80.1.2', 'fd00:77::2'],
    'one of each family',
  )
  t.same((await leases.allocate(request('a', [small, six]))).addresses, ['10.80.1.2', 'fd00:77::2'], 'the same again')
  await leases.allocate(request('b'))
  await leases.release(request('a'))
  await leases.release(request('a'))
  t.same((await leases.allocate(request('c'))).addresses, ['10.80.1.4'], 'a released address rests')
  await leases.close()

  leases = await open(path, 'boot-2')
  t.same(
    leases.list().map(({ container, bootId }) => [container, bootId]),
    [
      ['b', 'boot-1'],
      ['c', 'boot-1'],
    ],
  )
  t.same((await leases.allocate(request('d'))).addresses, ['10.80.1.5'], 'still rests after a restart')
  t.same((await leases.allocate(request('e'))).addresses, ['10.80.1.6'])
  t.same((await leases.allocate(request('f'))).addresses, ['10.80.1.2'], 'used again when nothing else is left')
  await t.rejects(leases.allocate(request('g')), { code: 'ERR_IPAM_EXHAUSTED' })
  t.same(leases.usage(small), { used: 5, resting: 0, free: 0n })
  await leases.release(request('d'))
  await leases.release(request('b'))
  t.same((await leases.allocate(request('g'))).addresses, ['10.80.1.5'], 'the oldest release first')
  t.same((await leases.allocate(request('c'))).bootId, 'boot-2', 'given again, it is of this boot')
  await leases.close()
})

t.test('wanted addresses', async (t) => {
  const leases = await open(await place(t))
  t.teardown(() => leases.close())
  t.same((await leases.allocate(request('a', [small, six], ['10.80.1.4']))).addresses, ['10.80.1.4', 'fd00:77::2'])
  await t.rejects(leases.allocate(request('b', [small], ['10.80.1.4'])), { code: 'ERR_IPAM_TAKEN' })
  await t.rejects(leases.allocate(request('b', [small], ['10.80.1.1'])), { code: 'ERR_IPAM_OUTSIDE' })
  await t.rejects(leases.allocate(request('b', [small], ['10.80.1.5', '10.80.1.6'])), { code: 'ERR_IPAM_OUTSIDE' })
  t.same((await leases.allocate(request('a', [small, six], ['10.80.1.5']))).addresses[0], '10.80.1.5', 'moves')
  t.same((await leases.allocate(request('b', [small], ['10.80.1.4']))).addresses, ['10.80.1.4'], 'the old one is free')
  t.equal(leases.list().length, 2)
})

t.test('concurrent calls share syncs and no address', async (t) => {
  const path = await place(t)
  const wide = parseCidr('10.80.4.0/22')
  const leases = await open(path)
  const given = await Promise.all(Array.from({ length: 500 }, (_, i) => leases.allocate(request(`c${i}`, [wide]))))
  t.equal(new Set(given.flatMap(({ addresses }) => addresses)).size, 500)
  const twice = [leases.allocate(request('x', [wide])), leases.allocate(request('x', [wide]))]
  const [first, second] = await Promise.all(twice)
  t.same(first, second, 'at once for one container: the same')
  await leases.close()
  const again = await open(path)
  t.equal(again.list().length, 501)
  await again.close()
})

t.test('a journal torn at any octet keeps every whole line', async (t) => {
  const path = await place(t)
  const leases = await open(path)
  for (const name of ['a', 'b', 'c']) await leases.allocate(request(name))
  await leases.close()
  const whole = await readFile(path)
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(path, whole.subarray(0, length))
    const again = await open(path)
    const kept = whole.subarray(0, length).toString().split('\n').length - 1
    const before = again.list().length
    await again.allocate(request('z'))
    await again.close()
    const third = await open(path)
    if (before !== kept || third.list().length !== kept + 1) t.fail(`torn at ${length}: ${before} of ${kept}`)
    await third.close()
  }
  await writeFile(path, whole)
  await appendFile(
    path,
    '\0\0\0\n{"op":"lease"}\n{"op":"lease","lease":{"network":"n"}}\n{"op":"rest","addresses":["x"]}\nnull\n',
  )
  const again = await open(path)
  t.equal(again.list().length, 3, 'lines that make no sense are skipped')
  await again.close()
})

t.test('compaction keeps leases and the order of rest', async (t) => {
  const path = await place(t)
  const leases = await open(path)
  await leases.allocate(request('keep', [small, six]))
  for (let round = 0; round < 700; round++) {
    await leases.allocate(request('churn', [small]))
    await leases.release(request('churn', [small]))
  }
  const next = (await leases.allocate(request('next', [small]))).addresses
  await leases.close()
  t.ok((await readFile(path, 'utf8')).split('\n').length < 1100, 'the file was rewritten')
  const again = await open(path)
  t.same(
    again.list().map(({ container }) => container),
    ['keep', 'next'],
  )
  await again.release(request('next'))
  t.not((await again.allocate(request('other', [small]))).addresses[0], next[0], 'it rests over a compaction')
  await again.close()
})

t.test('what changes while the journal is rewritten is in the new one', async (t) => {
  const path = await place(t)
  const wide = parseCidr('10.80.4.0/22')
  const leases = await open(path)
  const churn = async (worker: number) => {
    for (let round = 0; round < 150; round++) {
      await leases.allocate(request(`w${worker}`, [wide]))
      await leases.release(request(`w${worker}`))
    }
    await leases.allocate(request(`w${worker}`, [wide]))
  }
  await Promise.all(Array.from({ length: 20 }, (_, worker) => churn(worker)))
  const [held, usage] = [leases.list(), leases.usage(wide)]
  await leases.close()
  t.ok((await readFile(path, 'utf8')).split('\n').length < 5000, 'the file was rewritten')
  const again = await open(path)
  t.equal(again.list().length, 20)
  t.same(new Set(again.list().map(({ addresses }) => addresses[0])), new Set(held.map(({ addresses }) => addresses[0])))
  t.same(again.usage(wide), usage)
  await again.close()
})

t.test('a journal that cannot be one', async (t) => {
  for (const path of ['/dev/full', '/proc/self', '/dev/null/leases']) {
    await t.rejects(open(path), { code: 'ERR_IPAM_JOURNAL' }, path)
  }
})
