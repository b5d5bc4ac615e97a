import { type Policy } from '../../core/model/policy.ts'
import { type NftChainSpec, type NftRuleSpec } from '../nft/table.ts'
import { isCatchAll } from './cells.ts'
import { hash32 } from './groups.ts'
import { isolationOwner, restoreChain } from './names.ts'

/** Name of the chain that counts a policy's packets and gives its verdict. */
export function policyChainName(name: string): string {
  return `${isolationOwner}p-${name}`
}

/** The chain of one policy: wherever it matches, packets come here, so one counter tells all. */
export function policyChain({ name, action }: Policy): NftChainSpec {
  const rules: readonly NftRuleSpec[] =
    action === 'deny'
      ? [{ name: 'deny', text: 'counter drop' }]
      : [
          { name: 'allow', text: `counter jump ${restoreChain}` },
          { name: 'pass', text: 'accept' },
        ]
  return { name: policyChainName(name), rules }
}

/** Where packets of a pair with these policies go: to the first at once when it speaks of every packet. */
export function listTarget(policies: readonly Policy[]): string {
  const [first] = policies
  if (first !== undefined && isCatchAll(first)) return policyChainName(first.name)
  const names = policies.map(({ name }) => name).join(' ')
  if (policies.length === 1) return `${isolationOwner}x-${names}`
  const hash = [hash32(names), hash32(names, 0x9e3779b9)].map((half) => half.toString(16).padStart(8, '0'))
  return `${isolationOwner}y-${hash.join('')}`
}

/**
 * The chain that leads a packet to the first of some policies that matches its protocol and port: for each of TCP and UDP a
 * few comparisons, or one lookup, however many policies there are. A packet that none matches goes on.
 */
export function listChain(policies: readonly Policy[]): NftChainSpec {
  const first = (matches: (policy: Policy) => boolean) => policies.find(matches)
  const icmp = first(({ protocol }) => protocol === 'icmp' || protocol === 'any')
  const other = first(isCatchAll)
  return {
    name: listTarget(policies),
    rules: [
      ...portRules('tcp', policies),
      ...portRules('udp', policies),
      ...(icmp === undefined || icmp === other
        ? []
        : [{ name: 'icmp', text: `meta l4proto { icmp, ipv6-icmp } goto ${policyChainName(icmp.name)}` }]),
      ...(other === undefined ? [] : [{ name: 'other', text: `goto ${policyChainName(other.name)}` }]),
    ],
  }
}

function portRules(protocol: 'tcp' | 'udp', policies: readonly Policy[]): readonly NftRuleSpec[] {
  const ranges = portTable(policies.filter((policy) => policy.protocol === protocol || policy.protocol === 'any'))
  const targets = new Set(ranges.map(({ policy }) => policy.name))
  const [only] = ranges
  if (only === undefined || (isCatchAll(only.policy) && targets.size === 1)) return []
  if (ranges.length === 1 && only.begin === 0 && only.end === lastPort) {
    return [{ name: protocol, text: `meta l4proto ${protocol} goto ${policyChainName(only.policy.name)}` }]
  }
  const text = ({ begin, end }: PortEntry) => (begin === end ? String(begin) : `${begin}-${end}`)
  if (ranges.length <= fewRanges) {
    return ranges.map((entry) => {
      return { name: protocol, text: `${protocol} dport ${text(entry)} goto ${policyChainName(entry.policy.name)}` }
    })
  }
  const elements = ranges.map((entry) => `${text(entry)} : goto ${policyChainName(entry.policy.name)}`)
  return [{ name: protocol, text: `${protocol} dport vmap { ${elements.join(', ')} }` }]
}

interface PortEntry {
  readonly begin: number
  readonly end: number
  readonly policy: Policy
}

const lastPort = 65_535

/**
 * Up to so many ranges a comparison of each is as quick as a lookup, and saves an anonymous map: nft reads each of them back
 * before any change of the table.
 */
const fewRanges = 4

/** For each port the first policy that matches it, as ranges that do not overlap, in order. */
export function portTable(policies: readonly Policy[]): readonly PortEntry[] {
  const wanted = policies.flatMap((policy) => {
    const ranges = policy.ports.length === 0 ? [{ begin: 0, end: lastPort }] : policy.ports
    return ranges.map(({ begin, end }) => ({ begin, end, policy }))
  })
  const cuts = [...new Set(wanted.flatMap(({ begin, end }) => [begin, end + 1]))].toSorted((a, b) => a - b)
  const table: PortEntry[] = []
  for (const [i, begin] of cuts.entries()) {
    const end = (cuts[i + 1] ?? begin) - 1
    const policy = wanted.find((one) => one.begin <= begin && end <= one.end)?.policy
    const before = table.at(-1)
    if (policy === undefined || end < begin) continue
    if (before !== undefined && before.policy === policy && before.end + 1 === begin) {
      table[table.length - 1] = { ...before, end }
    } else table.push({ begin, end, policy })
  }
  return table
}
