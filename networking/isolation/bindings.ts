import { type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { linkPrefix } from '../protocol.ts'
import { elementKey, type NftChainSpec, type NftRuleSpec, type NftSet, type NftTableSpec } from '../nft/table.ts'
import { addressType, families, header } from './names.ts'

/** What may come out of one interface of a container. */
export interface Binding {
  /** The node's end of the link; empty for a lease that has none of ours. */
  readonly hostLink: string
  /** Of the container's end. */
  readonly mac: string
  readonly addresses: readonly Ip[]
}

/** Prefix of the names of these objects in Weft's table. */
export const spoofOwner = 'spoof-'

const macSet = `${spoofOwner}mac`
const sourceSet = (family: IpFamily) => `${spoofOwner}source${family}`

/** By set: the elements of some bindings. */
export function bindingElements(bindings: Iterable<Binding>): ReadonlyMap<string, readonly string[]> {
  const macs: string[] = []
  const sources: Record<IpFamily, string[]> = { 4: [], 6: [] }
  for (const { hostLink, mac, addresses } of bindings) {
    if (hostLink === '') continue
    macs.push(elementKey(hostLink, mac))
    for (const address of addresses) sources[ipFamily(address)].push(elementKey(hostLink, mac, address))
  }
  return new Map([[macSet, macs], ...families.map((family) => [sourceSet(family), sources[family]] as const)])
}

/** The guard against foreign sources, with these bindings. */
export function desiredGuard(bindings: Iterable<Binding>): NftTableSpec {
  const elements = bindingElements(bindings)
  const set = (name: string, key: readonly string[]): NftSet => ({
    name,
    kind: 'set',
    key,
    value: [],
    interval: false,
    elements: new Map((elements.get(name) ?? []).map((one) => [one, ''])),
  })
  return {
    sets: [
      set(macSet, ['ifname', 'ether_addr']),
      ...families.map((family) => set(sourceSet(family), ['ifname', 'ether_addr', addressType[family]])),
    ],
    chains: [guardChain],
  }
}

/**
 * Hook prerouting, priority raw (-300): before connection tracking, so that a forged packet can't touch a tracked
 * connection. ARP does not come here; the node asks each link only for the addresses that it routes there. Link-local
 * sources are not forwarded; IPv6 needs them, and the unspecified one, to find its gateway.
 */
const guardChain: NftChainSpec = {
  name: `${spoofOwner}guard`,
  base: { type: 'filter', hook: 'prerouting', priority: -300 },
  rules: [
    { name: 'others', text: `iifname != "${linkPrefix}c*" accept` },
    { name: 'mac', text: `iifname . ether saddr != @${macSet} counter drop` },
    ...families.map(
      (family): NftRuleSpec => ({
        name: `source${family}`,
        text: `iifname . ether saddr . ${header[family]} saddr @${sourceSet(family)} accept`,
      }),
    ),
    { name: 'link-local', text: 'ip6 saddr fe80::/10 accept' },
    { name: 'unspecified', text: 'ip6 saddr :: accept' },
    { name: 'source', text: 'counter drop' },
  ],
}
