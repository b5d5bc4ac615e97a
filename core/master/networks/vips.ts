import { type Ip } from '../../base/ip.ts'
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
 * Gives an address to each VIP that has none. When the range is used up, addresses of VIPs that no task wants (`inUse` is
 * false) are given away.
 * @throws ERR_MASTER_VIPS_EXHAUSTED
 */
export function decideVips(
  profile: Profile,
  wanted: { readonly framework: string; readonly names: readonly string[] },
  inUse: (key: string) => boolean,
): Decide {
  return (state) => {
    const fresh = wanted.names.filter((name) => !state.vips.has(vipKey(name, wanted.framework)))
    if (fresh.length === 0) return {}
    const change = new Map<string, VipAddress | undefined>()
    const taken = new Set([...state.vips.values()].flatMap(({ addresses }) => addresses))
    for (const name of fresh) {
      const key = vipKey(name, wanted.framework)
      if (taken.size + 2 >= smallestRange(profile)) giveAway(state, { change, taken, inUse })
      const addresses = profile.vips.map((range) => vipAddress(range, key, taken))
      for (const address of addresses) taken.add(address)
      change.set(key, { name, framework: wanted.framework, addresses })
    }
    return { vips: change }
  }
}

function smallestRange({ vips }: Profile): number {
  const lengths = vips.map((range) => 2 ** ((range.includes(':') ? 128 : 32) - Number(range.split('/')[1])))
  return Math.min(...lengths)
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
