import { cidrOverlaps } from '../../core/base/cidr.ts'
import { type Cidr } from '../../core/base/ip.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type Nft } from '../nft/nft.ts'
import { formatNftOp, type NftOp } from '../nft/ops.ts'
import { planNftTable } from '../nft/plan.ts'
import { type NftChain, type NftChainSpec, type NftTableSpec, ruleMark } from '../nft/table.ts'
import { type Repair, type SnapshotChange, type Stage } from '../node/stage.ts'
import { type Antispoof } from './antispoof.ts'
import { type CompiledIsolation, compileIsolation, desiredIsolation } from './desired.ts'
import { isSelected } from './groups.ts'
import { isolationOwner } from './names.ts'

/** What the stage works with. */
export interface IsolationStageOptions {
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
  /** Audited with the rest. */
  readonly antispoof?: Pick<Antispoof, 'repair'>
}

/** How many elements of one op a repair shows. */
const shownElements = 8

/**
 * Keeps networks apart and enforces policies (desired.ts). Networks that appear are programmed before anything that uses
 * them (add), and those that go are taken away after it (remove); everything else is one transaction in add, so that a
 * packet meets the old policies or the new ones, never a part. Before the first audit or change nothing is known of the
 * kernel, so that round compares all.
 */
export function openIsolationStage({ nft, table, antispoof }: IsolationStageOptions): Stage {
  let known = false
  let last: { readonly snapshot: ClusterSnapshot; readonly compiled: CompiledIsolation } | undefined
  /** The answer of the last question is kept: the next change begins there. */
  const specOf = (snapshot: ClusterSnapshot): NftTableSpec => {
    if (last?.snapshot !== snapshot) last = { snapshot, compiled: compileIsolation(snapshot, last?.compiled) }
    return last.compiled.spec
  }
  const repair = async (snapshot: ClusterSnapshot, signal: AbortSignal): Promise<readonly NftOp[]> => {
    known = false
    const actual = await nft.readTable(table, { signal })
    const ops = planNftTable({ owner: isolationOwner, desired: specOf(snapshot), actual })
    await nft.apply({ table, ops }, { signal })
    known = true
    return ops
  }
  const perform = async (ops: readonly NftOp[], signal: AbortSignal) => {
    known = false // until it went well: a failure makes the next round read the kernel
    await nft.apply({ table, ops }, { signal })
    known = true
  }
  return {
    name: 'isolation',
    plan: (change) => {
      const isConcerned = concerns(change)
      if (!isConcerned && last?.snapshot === change.previous) last = { ...last, snapshot: change.next }
      const { kept, left } = isConcerned ? planChange(change, specOf) : nothing
      return {
        add: async ({ signal }) => {
          if (!known) await repair(joined(change), signal)
          else if (kept.length > 0) await perform(kept, signal)
        },
        remove: async ({ signal }) => {
          if (!known) await repair(change.next, signal)
          else if (left.length > 0) await perform(left, signal)
        },
      }
    },
    audit: async (snapshot, { signal }): Promise<readonly Repair[]> => {
      const guarded = (await antispoof?.repair({ signal })) ?? []
      const ops = await repair(snapshot, signal)
      return [...guarded, ...ops].map((op) => ({
        stage: 'isolation',
        operation: `nft ${formatNftOp(table, op, { shown: shownElements })}`,
      }))
    },
  }
}

const nothing: { readonly kept: readonly NftOp[]; readonly left: readonly NftOp[] } = { kept: [], left: [] }

/** What to do first, and what last: through the state that has both networks that come and networks that go. */
function planChange(
  change: SnapshotChange,
  specOf: (snapshot: ClusterSnapshot) => NftTableSpec,
): { readonly kept: readonly NftOp[]; readonly left: readonly NftOp[] } {
  if (change.delta.networks.removals.size === 0) {
    return { kept: planBetween(specOf(change.previous), specOf(change.next)), left: [] }
  }
  const middle = desiredIsolation(joined(change))
  return { kept: planBetween(specOf(change.previous), middle), left: planBetween(middle, specOf(change.next)) }
}

/** False for nearly all changes: tasks that no policy names, nodes where no network is strict. */
function concerns({ previous, next, delta }: SnapshotChange): boolean {
  const { networks, policies, nodes, tasks } = delta
  if ([networks, policies].some(({ upserts, removals }) => upserts.size + removals.size > 0)) return true
  if (nodes.upserts.size + nodes.removals.size > 0 && hasStrict(next)) return true
  if (next.policies.size === 0) return false
  const selected = isSelected(next.policies.values())
  const ids = [...tasks.upserts.keys(), ...tasks.removals]
  return [previous, next].some(({ tasks: all }) =>
    ids.some((id) => {
      const task = all.get(id)
      return task !== undefined && selected(task)
    }),
  )
}

function hasStrict({ networks }: ClusterSnapshot): boolean {
  return [...networks.values()].some(({ isolated }) => isolated === 'strict')
}

/** As an audit would plan it, if the kernel had exactly `from`: nothing is read. */
function planBetween(from: NftTableSpec, to: NftTableSpec): readonly NftOp[] {
  const before = new Map(from.chains.map((chain) => [chain.name, chain]))
  const same = new Set(to.chains.filter((chain) => sameRules(chain, before.get(chain.name))).map(({ name }) => name))
  const marked = from.chains
    .filter(({ name }) => !same.has(name))
    .map(({ rules, ...chain }): NftChain => {
      return { ...chain, rules: rules.map((rule, handle) => ({ handle, mark: ruleMark(rule) })) }
    })
  const actual = {
    chains: new Map(marked.map((chain) => [chain.name, chain])),
    sets: new Map(from.sets.map((set) => [set.name, set])),
  }
  const desired = { ...to, chains: to.chains.filter(({ name }) => !same.has(name)) }
  return planNftTable({ owner: isolationOwner, desired, actual })
}

function sameRules({ rules }: NftChainSpec, other: NftChainSpec | undefined): boolean {
  if (rules === other?.rules) return true
  return rules.length === other?.rules.length && rules.every(({ text }, i) => text === other.rules[i]?.text)
}

/** What is there between add and remove: all that is next, and the networks that are about to go. */
function joined({ previous, next }: SnapshotChange): ClusterSnapshot {
  const going = [...previous.networks].filter(([name]) => !next.networks.has(name))
  const taken = [...next.networks.values()].flatMap(({ subnets }) => subnets)
  const isFree = (subnet: Cidr) => !taken.some((other) => cidrOverlaps(subnet, other))
  const apart = going.filter(([, { subnets }]) => subnets.every(isFree))
  return { ...next, networks: new Map([...apart, ...next.networks]) }
}
