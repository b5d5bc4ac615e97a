import { cidrContains, cidrSize } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { type Cidr, type Ip, ipFamily } from '../../base/ip.ts'
import { type TaskInfo } from '../../model/task.ts'
import { taskVips } from '../../model/task-vips.ts'
import { vipKey, type VipSpec } from '../../model/vip.ts'
import { reservedVipReason } from '../../model/vip-reserved.ts'
import { type Decide, type RegistryState, type VipRecord } from '../registry/state.ts'
import { vipAddress } from './allocate.ts'
import { type Profile } from './profile.ts'

/**
 * How long an address rests after the last task behind it has gone, before another name may get it: resolvers and clients
 * may hold a name for far longer than its TTL of seconds.
 */
export const vipRestMs = 300_000

/** What decides whether an address may be given to another name. */
export interface VipUse {
  /** True while a task of the snapshot is behind the VIP. */
  readonly isInUse: (key: string) => boolean
  /** Wall clock. */
  readonly nowMs: number
  /** Wall clock; when this master began: before that it can't say who used what. */
  readonly sinceMs: number
}

/** The VIPs that a task asks for. @throws ERR_VIP_LABEL */
export function vipSpecs({ discovery, labels, resources }: VipWish): readonly VipSpec[] {
  return taskVips({ labels, ports: resources.ports, ...(discovery && { discovery }) }, 'refuse').map(({ spec }) => spec)
}

/** What of a task says which VIPs it wants. */
export type VipWish = Pick<TaskInfo, 'discovery' | 'labels' | 'resources'>

/** Names of the VIPs that a task asks for, each once. @throws ERR_VIP_LABEL */
export function vipNames(task: VipWish): readonly string[] {
  return [...new Set(vipSpecs(task).flatMap((spec) => (spec.kind === 'named' ? [spec.name] : [])))]
}

/**
 * Nothing, when tasks of the framework can be behind the VIPs.
 * @throws ERR_MASTER_VIP_ADDRESS for an address that is used otherwise, ERR_MASTER_VIPS_EXHAUSTED for a name
 */
export function checkVips(
  profile: Profile,
  state: RegistryState,
  { vips, framework, use }: { readonly vips: readonly VipSpec[]; readonly framework: string; readonly use: VipUse },
): void {
  for (const spec of vips) if (spec.kind === 'address') checkAddress(profile, state, spec.address)
  const names = vips.flatMap((spec) => (spec.kind === 'named' ? [spec.name] : []))
  decideVips(profile, { framework, names }, use)(state)
}

function checkAddress({ vips }: Profile, state: RegistryState, address: Ip): void {
  const reason = reservedVipReason(address, state)
  if (reason !== undefined) throw addressError(`VIP address ${address} is ${reason}: choose another`)
  const range = vips.find((one) => cidrContains(one, address))
  if (range === undefined) return
  const advice = 'use a name, which weft vip create NAME.FRAMEWORK --address can give this very address'
  throw addressError(`VIP address ${address} is in ${range}, where named VIPs have theirs: ${advice}`)
}

function addressError(message: string): AppError {
  return new AppError('ERR_MASTER_VIP_ADDRESS', message)
}

/**
 * Gives an address of each IP version to each VIP that has none. When the range is used up, the address that has rested
 * longest changes hands, if any has rested enough.
 * @throws ERR_MASTER_VIPS_EXHAUSTED
 */
export function decideVips(
  profile: Profile,
  wanted: { readonly framework: string; readonly names: readonly string[] },
  use: VipUse,
): Decide {
  return (state) => {
    const fresh = wanted.names.filter((name) => !hasVipAddresses(profile, state, vipKey(name, wanted.framework)))
    if (fresh.length === 0) return {}
    const change = new Map<string, VipRecord | undefined>()
    const taken = takenAddresses(state)
    for (const name of new Set(fresh)) {
      const key = vipKey(name, wanted.framework)
      if (isNearlyUsedUp(profile, taken)) giveAway(state, { change, taken, use })
      const kept = state.vips.get(key)
      const addresses = addressesFor(profile, key, { kept: kept?.addresses ?? [], taken })
      for (const address of addresses) taken.add(address)
      change.set(key, { ...kept, name, framework: wanted.framework, addresses, freedAtMs: use.nowMs })
    }
    return { vips: change }
  }
}

/** An address of each range: one of `kept`, else the first free one from the hash of the key. @throws ERR_MASTER_VIPS_EXHAUSTED */
export function addressesFor(
  { vips }: Profile,
  key: string,
  { kept, taken }: { readonly kept: readonly Ip[]; readonly taken: ReadonlySet<Ip> },
): readonly Ip[] {
  const own = (range: Cidr) => kept.find((address) => ipFamily(address) === ipFamily(range))
  return vips.map((range) => own(range) ?? vipAddress(range, key, taken))
}

/** Every address that a VIP has. */
export function takenAddresses({ vips }: Pick<RegistryState, 'vips'>): Set<Ip> {
  return new Set([...vips.values()].flatMap(({ addresses }) => addresses))
}

/** Notes since when no task wants the VIPs. */
export function decideFreedVips(keys: readonly string[], nowMs: number): Decide {
  return ({ vips }) => {
    const freed = keys.flatMap((key) => {
      const vip = vips.get(key)
      return vip === undefined ? [] : [[key, { ...vip, freedAtMs: nowMs }] as const]
    })
    return { vips: new Map(freed) }
  }
}

/** True when the VIP has an address of each IP version that the profile has a range of. */
export function hasVipAddresses({ vips }: Profile, state: Pick<RegistryState, 'vips'>, key: string): boolean {
  const families = new Set(state.vips.get(key)?.addresses.map(ipFamily))
  return vips.every((range) => families.has(ipFamily(range)))
}

/** True when one of the ranges has no address left; the first and the last of each are nobody's. */
function isNearlyUsedUp({ vips }: Profile, taken: ReadonlySet<Ip>): boolean {
  const count = (range: Cidr) => [...taken].filter((address) => ipFamily(address) === ipFamily(range)).length
  return vips.some((range) => BigInt(count(range)) + 2n >= cidrSize(range))
}

interface GiveAway {
  readonly change: Map<string, VipRecord | undefined>
  readonly taken: Set<Ip>
  readonly use: VipUse
}

function giveAway({ vips }: RegistryState, { change, taken, use }: GiveAway): void {
  const rested = [...vips].filter(([key, vip]) => !change.has(key) && stateOfVip(key, vip, use) === 'free')
  const [longest] = rested.toSorted(([, a], [, b]) => (a.freedAtMs ?? 0) - (b.freedAtMs ?? 0))
  if (longest === undefined) return
  const [key, { addresses }] = longest
  change.set(key, undefined)
  for (const address of addresses) taken.delete(address)
}

/** What a VIP's address is: a `free` one is kept for its name until another name needs it. */
export type VipState = 'in-use' | 'reserved' | 'resting' | 'free'

/** The state of a VIP of the registry. */
export function stateOfVip(key: string, { reserved, freedAtMs = 0 }: VipRecord, use: VipUse): VipState {
  if (use.isInUse(key)) return 'in-use'
  if (reserved === true) return 'reserved'
  return Math.max(freedAtMs, use.sinceMs) + vipRestMs > use.nowMs ? 'resting' : 'free'
}
