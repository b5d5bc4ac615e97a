import { type Cidr, ipFamily, type IpFamily } from '../../core/base/ip.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { elementKey, type NftChainSpec, type NftRuleSpec, type NftSet, type NftTableSpec } from '../nft/table.ts'

/** Prefix of the names of this part's objects in Weft's table. */
export const isolationOwner = 'iso-'

/**
 * What keeps networks apart. Each packet that the node forwards is looked up once by the pair (network of its source,
 * network of its destination); both are found by prefix, so that containers come and go without a change here. The pair
 * map holds a network with itself; issue 3 adds allowed pairs and rule chains to it, and a chain at prerouting against
 * spoofed sources.
 *
 * nft (1.0.6) can't put two map lookups into one key, so the pair is a concatenation of two intervals in one set, which the
 * kernel (nft_set_pipapo.c) looks up at once, rather than two lookups of a number each. Marks would do too, but belong to
 * others.
 *
 * What is neither from nor to a container is not looked at: nodes and VTEPs reach containers and the reverse.
 */
export function desiredIsolation({ networks }: Pick<ClusterSnapshot, 'networks'>): NftTableSpec {
  const prefixes = [...networks.values()].map(({ subnets }) => subnets)
  return {
    sets: families.flatMap((family) => [networkSet(family, prefixes), pairMap(family, prefixes)]),
    chains: [forwardChain],
  }
}

const families: readonly IpFamily[] = [4, 6]

function ofFamily(subnets: readonly Cidr[], family: IpFamily): readonly Cidr[] {
  return subnets.filter((subnet) => ipFamily(subnet) === family)
}

/** Every prefix of every network: the addresses that isolation is about. */
function networkSet(family: IpFamily, networks: readonly (readonly Cidr[])[]): NftSet {
  return {
    name: `${isolationOwner}network${family}`,
    kind: 'set',
    key: [addressType(family)],
    value: [],
    interval: true,
    elements: new Map(networks.flatMap((subnets) => ofFamily(subnets, family).map((subnet) => [subnet, '']))),
  }
}

/** Source prefix and destination prefix → verdict. */
function pairMap(family: IpFamily, networks: readonly (readonly Cidr[])[]): NftSet {
  const elements = new Map<string, string>()
  for (const subnets of networks) {
    const own = ofFamily(subnets, family)
    for (const from of own) for (const to of own) elements.set(elementKey(from, to), 'accept')
  }
  const type = addressType(family)
  return {
    name: `${isolationOwner}pair${family}`,
    kind: 'map',
    key: [type, type],
    value: ['verdict'],
    interval: true,
    elements,
  }
}

function addressType(family: IpFamily): string {
  return family === 4 ? 'ipv4_addr' : 'ipv6_addr'
}

/**
 * Hook forward, priority filter (0): after the VIP's translation (prerouting), before any source translation
 * (postrouting), so that source and destination are the true ones. Order: what was once allowed goes on; a packet that
 * conntrack can't place is dropped, else an untranslated reply would reach a client that knows only the VIP, which would
 * reset the connection.
 */
const forwardChain: NftChainSpec = {
  name: `${isolationOwner}forward`,
  base: { type: 'filter', hook: 'forward', priority: 0 },
  rules: [
    { name: 'established', text: 'ct state established,related accept' },
    ...families.map((family) =>
      ruleOf(family, 'invalid', (ip) => `ct state invalid ${ip} saddr @iso-network${family}`),
    ),
    ...families.map((family): NftRuleSpec => {
      const ip = header(family)
      return { name: `pair${family}`, text: `${ip} saddr . ${ip} daddr vmap @iso-pair${family}` }
    }),
    ...families.map((family) =>
      ruleOf(family, 'cross', (ip) => `${ip} saddr @iso-network${family} ${ip} daddr @iso-network${family}`),
    ),
  ],
}

function header(family: IpFamily): string {
  return family === 4 ? 'ip' : 'ip6'
}

function ruleOf(family: IpFamily, name: string, match: (header: string) => string): NftRuleSpec {
  return { name: `${name}${family}`, text: `${match(header(family))} counter drop` }
}
