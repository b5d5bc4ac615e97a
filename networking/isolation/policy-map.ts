import { type Cidr, type Ip, type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type Policy } from '../../core/model/policy.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type NftChainSpec, type NftRuleSpec, type NftSet, type NftTableSpec } from '../nft/table.ts'
import { anyDestination, type Cells, findCells } from './cells.ts'
import { findGroups, type GroupId, type Groups, usedSelectors } from './groups.ts'
import { addressType, families, header, isolationOwner, restoreChain } from './names.ts'
import { listChain, listTarget, policyChain, policyChainName } from './policy-chains.ts'

/**
 * Policies as nft objects. A packet's source and destination are each found in a map (addresses of tasks by hash, then
 * prefixes), which gives the two groups; the pair of groups is looked up once and leads to the chain of the policies that
 * speak of it. So the cost of a packet does not grow with the number of policies, networks or tasks, and a task's coming or
 * going changes its own elements only.
 *
 * nft (1.0.6) can't put two map lookups into one key. The pair is therefore put together in the packet's priority: the
 * source's number by a map, then the destination's by a chain of its own, in the upper half. The priority is the one number
 * of a packet that the kernel itself has just written when this hook is reached (ip_forward(), from the TOS field), so
 * nobody can have left anything in it, and it can be restored exactly; marks belong to others. Rejected: a map for each
 * source (its size would be the product of both ends), and one pair of intervals for both ends (the same).
 */
export function policyTable(view: PolicyView, before?: PolicyTable): PolicyTable {
  const addresses = before !== undefined && sameGroups(view, before.view) ? before.addresses : addressTable(view)
  const cells = findCells(view.policies.values(), addresses.groups)
  const lists = listChains(cells, before?.lists ?? new Map())
  const spec = {
    sets: [...addresses.spec.sets, verdictMap(cells)],
    chains: [
      ...[...view.policies.values()].map(policyChain),
      ...[...lists.values()].map(({ chain }) => chain),
      ...addresses.spec.chains,
      { name: tosChain, rules: tosRules },
      { name: restoreChain, rules: restoreRules },
      ...families.map((family) => askChain(family, cells)),
    ],
  }
  return { view, spec, addresses, lists }
}

/** What policies look at. */
export type PolicyView = Pick<ClusterSnapshot, 'networks' | 'tasks' | 'policies'>

/** The objects, and the parts that the next ones may share: identical parts need no comparison. */
export interface PolicyTable {
  readonly view: PolicyView
  readonly spec: NftTableSpec
  readonly addresses: { readonly groups: Groups; readonly spec: NftTableSpec }
  readonly lists: Lists
}

/** By name of the chain. */
type Lists = ReadonlyMap<string, { readonly policies: readonly Policy[]; readonly chain: NftChainSpec }>

/** True when only what policies say of the same selectors may differ. */
function sameGroups(view: PolicyView, before: PolicyView): boolean {
  if (view.networks !== before.networks || view.tasks !== before.tasks) return false
  const [now, then] = [usedSelectors(view.policies.values()), usedSelectors(before.policies.values())]
  return now.size === then.size && [...now.keys()].every((tag) => then.has(tag))
}

function addressTable(view: PolicyView): PolicyTable['addresses'] {
  const groups = findGroups(view)
  const ids = [...new Set([...groups.prefixes.values(), ...groups.hosts.values()])].toSorted((a, b) => a - b)
  const sets = families.flatMap((family) => [
    sourceMap('source', family, groups.hosts),
    destinationMap('target', family, groups.hosts),
    sourceMap('source-net', family, groups.prefixes),
    destinationMap('target-net', family, groups.prefixes),
  ])
  return { groups, spec: { sets, chains: ids.map(destinationChain) } }
}

/** Name of the chain that asks the policies about a packet. */
export function askChainName(family: IpFamily): string {
  return `${isolationOwner}ask${family}`
}

const verdictName = `${isolationOwner}verdict`
const tosChain = `${isolationOwner}tos`

type SetRole = 'source' | 'target' | 'source-net' | 'target-net'

function setName(role: SetRole, family: IpFamily): string {
  return `${isolationOwner}${role}${family}`
}

function addressMap(
  role: SetRole,
  family: IpFamily,
  {
    entries,
    value,
    format,
  }: { entries: ReadonlyMap<Ip | Cidr, GroupId>; value: string; format: (id: GroupId) => string },
): NftSet {
  const own = [...entries].filter(([address]) => ipFamily(address) === family)
  return {
    name: setName(role, family),
    kind: 'map',
    key: [addressType[family]],
    value: [value],
    interval: role.endsWith('-net'),
    elements: new Map(own.map(([address, id]) => [address.replace(family === 4 ? '/32' : '/128', ''), format(id)])),
  }
}

function sourceMap(role: SetRole, family: IpFamily, entries: ReadonlyMap<Ip | Cidr, GroupId>): NftSet {
  return addressMap(role, family, { entries, value: 'classid', format: (id) => formatPair(0, id) })
}

function destinationMap(role: SetRole, family: IpFamily, entries: ReadonlyMap<Ip | Cidr, GroupId>): NftSet {
  return addressMap(role, family, { entries, value: 'verdict', format: (id) => `jump ${destinationChainName(id)}` })
}

/** As nft writes a classid, two numbers of 16 bits: the destination's group, the source's group. */
function formatPair(destination: GroupId, source: GroupId): string {
  return `${destination.toString(16)}:${source.toString(16)}`
}

function destinationChainName(id: GroupId): string {
  return `${isolationOwner}to-${id.toString(16)}`
}

function destinationChain(id: GroupId): NftChainSpec {
  const text = `meta priority set meta priority or 0x${id.toString(16)}0000`
  return { name: destinationChainName(id), rules: [{ name: 'group', text }] }
}

function verdictMap({ cells }: Cells): NftSet {
  const elements = new Map(
    cells.map(({ destination, source, policies }) => [formatPair(destination, source), `goto ${listTarget(policies)}`]),
  )
  return { name: verdictName, kind: 'map', key: ['classid'], value: ['verdict'], interval: false, elements }
}

/** Many pairs share one chain. Where the first policy speaks of every packet, its own chain is the one. */
function listChains({ cells, rest }: Cells, before: Lists): Lists {
  const lists = new Map<string, { readonly policies: readonly Policy[]; readonly chain: NftChainSpec }>()
  for (const policies of [...cells.map((cell) => cell.policies), rest]) {
    const [first] = policies
    const target = listTarget(policies)
    if (first === undefined || target === policyChainName(first.name) || lists.has(target)) continue
    const known = before.get(target)
    const same = known?.policies.length === policies.length && policies.every((one, i) => one === known.policies[i])
    lists.set(target, same ? known : { policies, chain: listChain(policies) })
  }
  return lists
}

/**
 * Hosts go after prefixes where the later word counts (the source), and before where the first does (the destination: `or`
 * must not be done twice, so its two maps are asked in one chain that ends with the first answer).
 */
function askChain(family: IpFamily, { rest }: Cells): NftChainSpec {
  const ip = header[family]
  const rules: NftRuleSpec[] = [
    { name: 'none', text: 'meta priority set 0:0' },
    { name: 'source-net', text: `meta priority set ${ip} saddr map @${setName('source-net', family)}` },
    { name: 'source', text: `meta priority set ${ip} saddr map @${setName('source', family)}` },
    { name: 'target', text: `${ip} daddr vmap @${setName('target', family)}` },
    {
      name: 'target-net',
      text: `meta priority & 0xffff0000 == 0 ${ip} daddr vmap @${setName('target-net', family)}`,
    },
    { name: 'pair', text: `meta priority vmap @${verdictName}` },
    { name: 'to', text: `meta priority and 0xffff0000 vmap @${verdictName}` },
    { name: 'from', text: `meta priority or 0x${anyDestination.toString(16)}0000 vmap @${verdictName}` },
  ]
  if (rest.length > 0) rules.push({ name: 'any', text: `goto ${listTarget(rest)}` })
  return { name: askChainName(family), rules }
}

/**
 * What ip_forward() had set: rt_tos2priority(), net/ipv4/route.c ip_tos2prio, a table of the bits 0x18 of the TOS field. The
 * kernel sets none for IPv6.
 */
const restoreRules: readonly NftRuleSpec[] = [
  { name: 'none', text: 'meta priority set 0:0' },
  { name: 'tos', text: `meta nfproto ipv4 @nh,8,8 & 0x18 != 0 jump ${tosChain}` },
]

const tosRules: readonly NftRuleSpec[] = (
  [
    ['bulk', '0x08', '0:2'],
    ['interactive', '0x10', '0:6'],
    ['interactive-bulk', '0x18', '0:4'],
  ] as const
).map(([name, bits, priority]) => ({ name, text: `@nh,8,8 & 0x18 == ${bits} meta priority set ${priority}` }))
