import { errorMessage, AppError } from '../../core/base/errors.ts'
import { type Nft } from '../../networking/nft/nft.ts'
import { formatNftOp } from '../../networking/nft/ops.ts'
import { planNftTable } from '../../networking/nft/plan.ts'
import {
  type BalancedFlow,
  type Conntrack,
  type DataPlane,
  formatVirtualServerKey,
  type LbOp,
  type VirtualServer,
} from '../dataplane.ts'
import { goneFlows } from '../flows.ts'
import { type VipPing } from '../refuse.ts'
import { readServers } from './elements.ts'
import { desiredLbTable, type LbState, makeLbState, planLbOps } from './plan.ts'
import { lbOwner } from './skeleton.ts'

/** What the data plane works with. */
export interface NftablesPlaneOptions {
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
  /** Absent: flows keep a removed backend until they end. */
  readonly conntrack?: Conntrack
  /** Absent: VIPs answer. */
  readonly ping?: VipPing
}

/** How many elements of one op a repair shows. */
const shownElements = 8

/**
 * Virtual servers in nftables (skeleton.ts tells how). Keeps what the kernel has, and sends differences; reads it at first
 * use and after a failure, when all that is ours is compared and made right.
 */
export function openNftablesPlane({ nft, table, conntrack, ping }: NftablesPlaneOptions): DataPlane {
  let known: LbState | undefined

  const read = async (signal: AbortSignal) => {
    const actual = await nft.readTable(table, { signal })
    return actual === undefined ? [] : readServers(actual)
  }
  const forget = async (flows: readonly BalancedFlow[], signal: AbortSignal) => {
    if (flows.length > 0) await conntrack?.forget(flows, { signal })
  }
  const repair = async (servers: readonly VirtualServer[], signal: AbortSignal) => {
    const wanted = makeLbState(servers, known)
    known = undefined
    const actual = await nft.readTable(table, { signal })
    const ops = planNftTable({ owner: lbOwner, desired: desiredLbTable(wanted, ping), actual })
    await nft.apply({ table, ops }, { signal })
    known = wanted
    const before = ops.length === 0 || actual === undefined ? [] : readServers(actual)
    await forget(goneFlows(byKey(before), leadingTo(before, wanted.servers)), signal)
    return ops.map((op) => `nft ${formatNftOp(table, op, { shown: shownElements })}`)
  }
  const learn = async (signal: AbortSignal): Promise<LbState> => {
    if (known === undefined) await repair(await read(signal), signal) // keeps what an earlier process left; adds the rest
    if (known === undefined) throw new AppError('ERR_LB_STATE', 'the nftables data plane could not be read')
    return known
  }
  const perform = async (state: LbState, ops: readonly LbOp[], signal: AbortSignal) => {
    const steps = planLbOps(state, ops)
    try {
      await nft.apply({ table, ops: steps }, { signal })
    } catch (error) {
      known = undefined
      signal.throwIfAborted()
      // Somebody changed our objects, so the difference does not fit: compare with what is there.
      await repair([...state.servers.values()], signal).catch((again: unknown) => {
        throw new AggregateError([error, again], `programming virtual servers failed: ${errorMessage(again)}`)
      })
    }
  }
  return {
    name: 'nftables',
    read: async ({ signal }) => read(signal),
    apply: async (ops, { signal }) => {
      if (ops.length === 0) return
      const state = await learn(signal)
      const gone = goneFlows(state.servers, ops)
      await perform(state, ops, signal)
      await forget(gone, signal)
    },
    repair: async (servers, { signal }) => repair(servers, signal),
    close: () => undefined, // nft is whose who opened it
  }
}

function byKey(servers: readonly VirtualServer[]): ReadonlyMap<string, VirtualServer> {
  return new Map(servers.map((server) => [formatVirtualServerKey(server), server]))
}

function leadingTo(before: readonly VirtualServer[], wanted: ReadonlyMap<string, VirtualServer>): readonly LbOp[] {
  return before.map((server): LbOp => {
    const next = wanted.get(formatVirtualServerKey(server))
    return next === undefined ? { kind: 'server.remove', server } : { kind: 'server.ensure', server: next }
  })
}
