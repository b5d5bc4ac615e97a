import { cidrSize } from '../../base/cidr.ts'
import { type Cidr, type Ip, ipFamily } from '../../base/ip.ts'
import { type VipAddress } from '../../model/snapshot.ts'
import { type DiscoveryInfo } from '../../model/task.ts'
import { isVipKey, parseVipLabel, vipKey } from '../../model/vip.ts'
import { type Decide, type RegistryState } from '../registry/state.ts'
import { vipAddress } from './allocate.ts'
import { type Profile } from './profile.ts'

/** Names of the VIPs that a task's ports ask for, each once. @throws ERR_VIP_LABEL */
export function vipNames(discovery: DiscoveryInfo | undefined): readonly string[] {
  const names = new Set<string>()
  for (const { labels } of discovery?.ports ?? []) {
    for (const [key, value] of Object.entries(labels)) {
      if (!isVipKey(key)) continue
      const spec = parseVipLabel(value)
      if (spec.kind === 'named') names.add(spec.name)
    }
  }
  return [...names]
}

/**
 * Gives an address of each IP version to each VIP that has none. When the range is used up, addresses of VIPs that no task wants (`inUse` is
 * false) are given away.
 * @throws ERR_MASTER_VIPS_EXHAUSTED
 */
export function decideVips(
  profile: Profile,
  wanted: { readonly framework: string; readonly names: readonly string[] },
  inUse: (key: string) => boolean,
): Decide {
  return (state) => {
    const fresh = wanted.names.filter((name) => !hasVipAddresses(profile, state, vipKey(name, wanted.framework)))
    if (fresh.length === 0) return {}
    const change = new Map<string, VipAddress | undefined>()
    const taken = new Set([...state.vips.values()].flatMap(({ addresses }) => addresses))
    for (const name of fresh) {
      const key = vipKey(name, wanted.framework)
      if (isNearlyUsedUp(profile, taken)) giveAway(state, { change, taken, inUse })
      const kept = state.vips.get(key)?.addresses ?? []
      const own = (range: Cidr) => kept.find((address) => ipFamily(address) === ipFamily(range))
      const addresses = profile.vips.map((range) => own(range) ?? vipAddress(range, key, taken))
      for (const address of addresses) taken.add(address)
      change.set(key, { name, framework: wanted.framework, addresses })
    }
    return { vips: change }
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
  readonly change: Map<string, VipAddress | undefined>
  readonly taken: Set<Ip>
  readonly inUse: (key: string) => boolean
}

function giveAway({ vips }: RegistryState, { change, taken, inUse }: GiveAway): void {
  for (const [key, vip] of vips) {
    if (inUse(key) || change.has(key)) continue
    change.set(key, undefined)
    for (const address of vip.addresses) taken.delete(address)
  }
}
