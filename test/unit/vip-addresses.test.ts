import t from 'tap'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseIp } from '../../core/base/ip.ts'
import { type Profile, profileOf } from '../../core/master/networks/profile.ts'
import { decideReleaseVip, decideReserveVip } from '../../core/master/networks/reserve-vip.ts'
import { decideFreedVips, decideVips, stateOfVip, type VipUse, vipRestMs } from '../../core/master/networks/vips.ts'
import { openRegistrar, readRegistry } from '../../core/master/registry/registrar.ts'
import { openMemoryStore } from '../../core/store/memory.ts'

/** Room for six. */
const profile: Profile = { ...profileOf('default', '4'), vips: [parseCidr('100.96.0.0/29')] }

async function registry() {
  const store = openMemoryStore()
  const open = async () => openRegistrar(await readRegistry(store), { store, term: 0, onCommit: () => undefined })
  const registrar = await open()
  const used = new Set<string>()
  const use = (nowMs: number, sinceMs = 0) => ({ isInUse: (key: string) => used.has(key), nowMs, sinceMs })
  const want = (nowMs: number, ...names: readonly string[]) =>
    registrar.apply(decideVips(profile, { framework: 'm', names }, use(nowMs)))
  const reserve = (name: string, ...addresses: readonly string[]) =>
    registrar.apply(decideReserveVip(profile, { name, framework: 'm', addresses: addresses.map(parseIp) }, use(0)))
  const release = (key: string, nowMs: number) => registrar.apply(decideReleaseVip(key, use(nowMs)))
  const addressOf = (key: string) => String(registrar.state.vips.get(key)?.addresses)
  const stateOf = (key: string, vipUse: VipUse) => {
    const vip = registrar.state.vips.get(key)
    return vip && stateOfVip(key, vip, vipUse)
  }
  return { registrar, stateOf, used, use, want, reserve, release, addressOf, reopen: open }
}

const exhausted = { code: 'ERR_MASTER_VIPS_EXHAUSTED', message: /weft vip list/ }

t.test('an address rests before another name gets it, and is the same for the same name', async (t) => {
  const { registrar, stateOf, used, use, want, addressOf, reopen } = await registry()
  await want(1, 'a', 'b', 'c', 'd', 'e', 'f')
  for (const name of ['a', 'b', 'd', 'e', 'f']) used.add(`${name}.m`)
  const [ofC, ofB] = [addressOf('c.m'), addressOf('b.m')]
  await t.rejects(want(vipRestMs, 'g'), exhausted, 'c rests since it was made')
  used.delete('b.m')
  await registrar.apply(decideFreedVips(['b.m', 'unknown.m'], 50_000))
  t.equal(stateOf('b.m', use(50_000 + vipRestMs - 1)), 'resting')
  t.equal(stateOf('b.m', use(50_000 + vipRestMs)), 'free')
  t.equal(stateOf('b.m', use(1e9, 1e9)), 'resting', 'a new master')
  await want(1e9, 'b')
  t.equal(addressOf('b.m'), ofB, 'the same name, the same address')
  await want(1e9, 'g')
  t.equal(addressOf('g.m'), ofC, 'of the free ones, that which is free for longest')
  t.notOk(registrar.state.vips.has('c.m'))
  t.equal(addressOf('b.m'), ofB, 'the other is kept for its name')
  t.same((await reopen()).state, registrar.state, 'durable')
  await want(1e9 + vipRestMs, 'c')
  used.add('g.m')
  used.add('c.m')
  await t.rejects(want(2e9, 'h'), exhausted, 'all in use')
})

t.test('reserved addresses', async (t) => {
  const { registrar, stateOf, used, use, want, reserve, release, addressOf, reopen } = await registry()
  await reserve('shop', '100.96.0.3')
  t.match(registrar.state.vips.get('shop.m'), { addresses: ['100.96.0.3'], reserved: true })
  await want(1, 'shop')
  t.equal(addressOf('shop.m'), '100.96.0.3', 'tasks get what was reserved')
  await reserve('other')
  const bad: readonly (readonly [readonly [string, ...string[]], string])[] = [
    [['x', '100.96.0.3'], 'ERR_MASTER_VIP_TAKEN'],
    [['x', '100.97.0.3'], 'ERR_MASTER_VIP_ADDRESS'],
    [['x', 'fd00::1'], 'ERR_MASTER_VIP_ADDRESS'],
    [['x', '100.96.0.0'], 'ERR_MASTER_VIP_ADDRESS'],
    [['x', '100.96.0.7'], 'ERR_MASTER_VIP_ADDRESS'],
    [['x', '100.96.0.4', '100.96.0.5'], 'ERR_MASTER_VIP_ADDRESS'],
  ]
  const before = JSON.stringify([...registrar.state.vips])
  for (const [wish, code] of bad) await t.rejects(reserve(...wish), { code }, wish.join(' '))
  used.add('shop.m')
  await t.rejects(reserve('shop', '100.96.0.4'), { code: 'ERR_MASTER_VIP_IN_USE' })
  await t.rejects(release('shop.m', 1), { code: 'ERR_MASTER_VIP_IN_USE' })
  await t.rejects(release('none.m', 1), { code: 'ERR_MASTER_VIP_UNKNOWN' })
  t.equal(JSON.stringify([...registrar.state.vips]), before, 'nothing changed')
  used.clear()
  await want(1, 'a', 'b', 'c', 'd')
  for (const name of ['a', 'b', 'c', 'd']) used.add(`${name}.m`)
  await t.rejects(want(1e9, 'e'), exhausted, 'reserved ones are given to nobody')
  await release('shop.m', 1e9)
  await t.rejects(want(1e9, 'e'), exhausted, 'it rests first')
  t.equal(stateOf('shop.m', use(1e9)), 'resting')
  await release('shop.m', 1e9)
  await want(1e9, 'e')
  t.equal(addressOf('e.m'), '100.96.0.3', 'released a second time: at once')
  t.same((await reopen()).state, registrar.state, 'durable')
})
