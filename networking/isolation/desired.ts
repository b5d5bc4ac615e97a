import { type Cidr, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type ClusterSnapshot, type Network } from '../../core/model/snapshot.ts'
import { elementKey, type NftChainSpec, type NftRuleSpec, type NftSet, type NftTableSpec } from '../nft/table.ts'
import { addressType, families, header, isolationOwner, restoreChain } from './names.ts'
import { askChainName, type PolicyTable, policyTable } from './policy-map.ts'

/** What isolation is made of. */
export type IsolationView = Pick<ClusterSnapshot, 'networks' | 'nodes' | 'tasks' | 'policies'>

/**
 * What keeps networks apart, and what policies make of that (policy-map.ts). Where no policy decides, a packet is looked up
 * once by the pair (network of its source, network of its destination); both are found by prefix, so that containers come
 * and go without a change here. The pair map holds a network with itself: nft (1.0.6) can't put two map lookups into one
 * key, so the pair is a concatenation of two intervals, which the kernel (nft_set_pipapo.c) looks up at once.
 *
 * What is neither from nor to a container is not looked at, unless a policy or a strict network speaks of it.
 */
export function desiredIsolation(view: IsolationView): NftTableSpec {
  return compileIsolation(view).spec
}

/** What was compiled, for the next time: what did not change is not made again. */
export interface CompiledIsolation {
  readonly view: IsolationView
  readonly spec: NftTableSpec
  readonly networks: readonly NftSet[]
  readonly policies: PolicyTable
}

/** {@link desiredIsolation}, quicker where it goes on from `before`. */
export function compileIsolation(view: IsolationView, before?: CompiledIsolation): CompiledIsolation {
  const policies = policyTable(view, before?.policies)
  const isSame = before?.view.networks === view.networks && before.view.nodes === view.nodes
  const networks = isSame ? before.networks : networkSets(view)
  const spec = {
    sets: [...networks, ...policies.spec.sets],
    chains: [...policies.spec.chains, strictChain, forwardChain, balancedChain],
  }
  return { view, spec, networks, policies }
}

function networkSets(view: IsolationView): readonly NftSet[] {
  const networks = [...view.networks.values()]
  const strict = networks.filter(({ isolated }) => isolated === 'strict')
  // Only strict networks ask for them: without one, a cluster's nodes change nothing here.
  const nodes = strict.length === 0 ? [] : [...view.nodes.values()]
  const nodeAddresses = nodes.flatMap(({ underlay, vtep }) => [underlay, ...vtep.addresses])
  return families.flatMap((family) => [
    prefixSet('network', family, networks),
    prefixSet('strict', family, strict),
    nodeSet(family, nodeAddresses),
    pairMap(family, networks),
  ])
}

function ofFamily<T extends Ip | Cidr>(list: readonly T[], family: IpFamily): readonly T[] {
  return list.filter((one) => ipFamily(one) === family)
}

/** Every prefix of some networks. */
function prefixSet(role: 'network' | 'strict', family: IpFamily, networks: readonly Network[]): NftSet {
  const own = networks.flatMap(({ subnets }) => ofFamily(subnets, family))
  return {
    name: `${isolationOwner}${role}${family}`,
    kind: 'set',
    key: [addressType[family]],
    value: [],
    interval: true,
    elements: new Map(own.map((subnet) => [subnet, ''])),
  }
}

function nodeSet(family: IpFamily, addresses: readonly Ip[]): NftSet {
  return {
    name: `${isolationOwner}node${family}`,
    kind: 'set',
    key: [addressType[family]],
    value: [],
    interval: false,
    elements: new Map(ofFamily(addresses, family).map((address) => [address, ''])),
  }
}

/** Source prefix and destination prefix → verdict. */
function pairMap(family: IpFamily, networks: readonly Network[]): NftSet {
  const elements = new Map<string, string>()
  for (const { subnets, isolated } of networks) {
    const own = ofFamily(subnets, family)
    const verdict = isolated === 'strict' ? `goto ${strictChain.name}` : 'accept'
    for (const from of own) for (const to of own) elements.set(elementKey(from, to), verdict)
  }
  const type = addressType[family]
  return {
    name: `${isolationOwner}pair${family}`,
    kind: 'map',
    key: [type, type],
    value: ['verdict'],
    interval: true,
    elements,
  }
}

const strictChain: NftChainSpec = {
  name: `${isolationOwner}strict`,
  rules: [{ name: 'strict', text: 'counter drop' }],
}

/**
 * Hook forward, priority filter (0): after the VIP's translation (prerouting), before any source translation
 * (postrouting), so that source and destination are the true ones. Order: replies pass, whatever changed since; a packet
 * that conntrack can't place is dropped, else an untranslated reply would reach a client that knows only the VIP, which
 * would reset the connection. Everything in a connection's original direction is judged, each packet of it: so a policy that
 * denies cuts what is established at once, and so does the removal of one that allowed.
 */
const forwardChain: NftChainSpec = {
  name: `${isolationOwner}forward`,
  base: { type: 'filter', hook: 'forward', priority: 0 },
  rules: judgingRules(),
}

/**
 * IPVS sends what it balances through hook output, with the true source and the backend as destination, and only the
 * answers through forward. What the node itself sends is not judged: its source is in no network.
 */
const balancedChain: NftChainSpec = {
  name: `${isolationOwner}balanced`,
  base: { type: 'filter', hook: 'output', priority: 0 },
  rules: [
    ...perFamily((family) => ({
      name: `own${family}`,
      text: `${header[family]} saddr != @${isolationOwner}network${family} accept`,
    })),
    ...judgingRules(),
  ],
}

function judgingRules(): readonly NftRuleSpec[] {
  return [
    { name: 'reply', text: 'ct direction reply ct state established,related accept' },
    { name: 'related', text: 'ct state related accept' },
    ...perFamily((family) => dropRule(family, 'invalid', (ip) => `ct state invalid ${ip} saddr @iso-network${family}`)),
    ...perFamily((family) => ({
      name: `ask${family}`,
      text: `meta nfproto ${family === 4 ? 'ipv4' : 'ipv6'} jump ${askChainName(family)}`,
    })),
    { name: 'restore', text: `jump ${restoreChain}` },
    ...perFamily((family) => {
      const ip = header[family]
      return { name: `pair${family}`, text: `${ip} saddr . ${ip} daddr vmap @iso-pair${family}` }
    }),
    ...perFamily((family) =>
      dropRule(family, 'cross', (ip) => `${ip} saddr @iso-network${family} ${ip} daddr @iso-network${family}`),
    ),
    ...perFamily((family) => acceptRule(family, 'from-node', 'saddr')),
    ...perFamily((family) => acceptRule(family, 'to-node', 'daddr')),
    // From outside through a host port or VIP: whoever publishes a port of a strict network means others to reach it.
    // (What comes from a container was judged above by its pair.)
    ...perFamily((family) => {
      const ip = header[family]
      const text = `ct status dnat ${ip} saddr != @iso-network${family} ${ip} daddr @iso-network${family} accept`
      return { name: `published${family}`, text }
    }),
    ...perFamily((family) => strictRule(family, 'from-strict', 'saddr')),
    ...perFamily((family) => strictRule(family, 'to-strict', 'daddr')),
  ]
}

function perFamily(rule: (family: IpFamily) => NftRuleSpec): readonly NftRuleSpec[] {
  return families.map(rule)
}

function dropRule(family: IpFamily, name: string, match: (header: string) => string): NftRuleSpec {
  return { name: `${name}${family}`, text: `${match(header[family])} counter drop` }
}

function acceptRule(family: IpFamily, name: string, end: 'saddr' | 'daddr'): NftRuleSpec {
  return { name: `${name}${family}`, text: `${header[family]} ${end} @iso-node${family} accept` }
}

function strictRule(family: IpFamily, name: string, end: 'saddr' | 'daddr'): NftRuleSpec {
  return { name: `${name}${family}`, text: `${header[family]} ${end} @iso-strict${family} goto ${strictChain.name}` }
}
