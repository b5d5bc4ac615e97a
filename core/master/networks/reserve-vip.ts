import { cidrContains, cidrNth, cidrSize } from '../../base/cidr.ts'
import { AppError } from '../../base/errors.ts'
import { type Ip, ipFamily } from '../../base/ip.ts'
import { vipKey } from '../../model/vip.ts'
import { type Decide, type RegistryState, type VipRecord } from '../registry/state.ts'
import { type Profile } from './profile.ts'
import { addressesFor, takenAddresses, type VipUse } from './vips.ts'

/** A name whose addresses shall stay its own. */
export interface VipReservation {
  readonly name: string
  readonly framework: string
  /** At most one for each IP version; for the others one is chosen. */
  readonly addresses: readonly Ip[]
}

/**
 * Reserves addresses for a named VIP, before or while tasks are behind it: nobody else gets them until it is released.
 * @throws ERR_MASTER_VIP_ADDRESS outside the range or two of one IP version, ERR_MASTER_VIP_TAKEN by another name,
 *   ERR_MASTER_VIP_IN_USE when tasks are behind its present address, ERR_MASTER_VIPS_EXHAUSTED
 */
export function decideReserveVip(profile: Profile, wish: VipReservation, use: VipUse): Decide {
  return (state) => {
    const { name, framework } = wish
    const key = vipKey(name, framework)
    const before = state.vips.get(key)
    for (const address of wish.addresses) checkWish(profile, state, { address, key })
    if (new Set(wish.addresses.map(ipFamily)).size < wish.addresses.length) {
      throw new AppError('ERR_MASTER_VIP_ADDRESS', 'give at most one address of each IP version')
    }
    const moved = before?.addresses.some((address) => isReplaced(address, wish.addresses)) === true
    if (moved && use.isInUse(key)) throw inUse(key, 'remove its tasks before it gets another address')
    const kept = [...wish.addresses, ...(before?.addresses ?? [])]
    const addresses = addressesFor(profile, key, { kept, taken: takenAddresses(state) })
    const freedAtMs = before?.freedAtMs ?? use.nowMs
    return { vips: new Map([[key, { name, framework, addresses, freedAtMs, reserved: true }]]) }
  }
}

/**
 * Takes a reservation back: the address rests, and may then be given away. Of a VIP that is not reserved: frees the address
 * at once, which may mislead clients that still hold the name.
 * @throws ERR_MASTER_VIP_UNKNOWN, ERR_MASTER_VIP_IN_USE
 */
export function decideReleaseVip(key: string, use: VipUse): Decide {
  return (state) => {
    const vip = state.vips.get(key)
    if (vip === undefined)
      throw new AppError('ERR_MASTER_VIP_UNKNOWN', `there is no VIP "${key}": weft vip list shows all`)
    if (use.isInUse(key)) throw inUse(key, 'remove its tasks first')
    const { name, framework, addresses, reserved } = vip
    const rest: VipRecord = { name, framework, addresses, freedAtMs: use.nowMs }
    return { vips: new Map([[key, reserved === true ? rest : undefined]]) }
  }
}

function inUse(key: string, advice: string): AppError {
  return new AppError('ERR_MASTER_VIP_IN_USE', `tasks are behind VIP "${key}": ${advice}`)
}

function isReplaced(address: Ip, wanted: readonly Ip[]): boolean {
  const other = wanted.find((one) => ipFamily(one) === ipFamily(address))
  return other !== undefined && other !== address
}

function checkWish(
  { vips }: Profile,
  state: RegistryState,
  { address, key }: { readonly address: Ip; readonly key: string },
): void {
  const range = vips.find((one) => cidrContains(one, address))
  if (range === undefined) {
    throw new AppError('ERR_MASTER_VIP_ADDRESS', `${address} is outside ${vips.join(' and ')}, the range of VIPs`)
  }
  if (address === cidrNth(range, 0n) || address === cidrNth(range, cidrSize(range) - 1n)) {
    throw new AppError('ERR_MASTER_VIP_ADDRESS', `${address} is the first or last of ${range}, which are nobody's`)
  }
  const [owner] = [...state.vips].find(([other, { addresses }]) => other !== key && addresses.includes(address)) ?? []
  if (owner === undefined) return
  throw new AppError(
    'ERR_MASTER_VIP_TAKEN',
    `${address} is the address of VIP "${owner}": choose another, or remove that`,
  )
}
