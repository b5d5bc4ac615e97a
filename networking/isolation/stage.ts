import { cidrOverlaps } from '../../core/base/cidr.ts'
import { type Cidr } from '../../core/base/ip.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type Nft } from '../nft/nft.ts'
import { formatNftOp, type NftOp } from '../nft/ops.ts'
import { planElements, planNftTable } from '../nft/plan.ts'
import { type Repair, type SnapshotChange, type Stage } from '../node/stage.ts'
import { desiredIsolation, isolationOwner } from './desired.ts'

/** What the stage works with. */
export interface IsolationStageOptions {
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
}

/** How many elements of one op a repair shows. */
const shownElements = 8

/**
 * Keeps networks apart (desired.ts). Only a change of a network is a change here. Networks that appear are programmed
 * before anything that uses them (add), and those that go are taken away after it (remove); a network whose prefixes
 * change does both in add. Before the first audit or change nothing is known of the kernel, so that round compares all.
 */
export function openIsolationStage({ nft, table }: IsolationStageOptions): Stage {
  let known = false
  const repair = async (snapshot: ClusterSnapshot, signal: AbortSignal): Promise<readonly NftOp[]> => {
    known = false
    const actual = await nft.readTable(table, { signal })
    const ops = planNftTable({ owner: isolationOwner, desired: desiredIsolation(snapshot), actual })
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
      const { kept, left } = planChange(change)
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
      const ops = await repair(snapshot, signal)
      return ops.map((op) => ({
        stage: 'isolation',
        operation: `nft ${formatNftOp(table, op, { shown: shownElements })}`,
      }))
    },
  }
}

/** The elements to put in, and those to take out: through the state that has both. */
function planChange(change: SnapshotChange): { readonly kept: readonly NftOp[]; readonly left: readonly NftOp[] } {
  const { upserts, removals } = change.delta.networks
  if (upserts.size === 0 && removals.size === 0) return { kept: [], left: [] }
  const middle = joined(change)
  return { kept: elementSteps(change.previous, middle), left: elementSteps(middle, change.next) }
}

function elementSteps(
  from: Pick<ClusterSnapshot, 'networks'>,
  to: Pick<ClusterSnapshot, 'networks'>,
): readonly NftOp[] {
  const before = new Map(desiredIsolation(from).sets.map(({ name, elements }) => [name, elements]))
  return desiredIsolation(to).sets.flatMap(({ name, elements }) =>
    planElements(name, elements, before.get(name) ?? new Map()),
  )
}

/** What is there between add and remove: the next networks, and those that are about to go. */
function joined({ previous, next }: SnapshotChange): ClusterSnapshot {
  const going = [...previous.networks].filter(([name]) => !next.networks.has(name))
  const taken = [...next.networks.values()].flatMap(({ subnets }) => subnets)
  const isFree = (subnet: Cidr) => !taken.some((other) => cidrOverlaps(subnet, other))
  const apart = going.filter(([, { subnets }]) => subnets.every(isFree))
  return { ...next, networks: new Map([...apart, ...next.networks]) }
}
