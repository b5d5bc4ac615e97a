import { type Nft } from '../../networking/nft/nft.ts'
import { formatNftOp } from '../../networking/nft/ops.ts'
import { planNftTable } from '../../networking/nft/plan.ts'
import { type NftTable } from '../../networking/nft/table.ts'
import { type CountedElements, countElement, planTouched, type TouchedElements } from '../counted.ts'
import { formatVirtualServerKey, type LbOp, type VirtualServer } from '../dataplane.ts'
import { type VipPing } from '../refuse.ts'
import { desiredGuardTable, guardElements } from './guard.ts'

/** Elements that the guard's sets have, as far as it is known. */
export type GuardState = CountedElements

/** A change for the guard: ops, and the servers before them. */
export interface GuardChange {
  readonly before: ReadonlyMap<string, VirtualServer>
  readonly ops: readonly LbOp[]
  readonly signal: AbortSignal
}

/** Keeps guard.ts's objects in Weft's table. */
export interface Guard {
  read(options: { readonly signal: AbortSignal }): Promise<NftTable | undefined>
  /** One transaction; moves `state`: forget it when this throws. */
  apply(state: GuardState, change: GuardChange): Promise<void>
  /**
   * Makes the load balancer's part of the table, which was read just now, be the guard's: whatever else is there of it, such
   * as the other data plane's rules, goes. @returns what was done, and the state then
   */
  repair(
    servers: readonly VirtualServer[],
    options: { readonly actual: NftTable | undefined; readonly signal: AbortSignal },
  ): Promise<{ readonly repaired: readonly string[]; readonly state: GuardState }>
}

/** How many elements of one op a repair shows. */
const shownElements = 8

/** What the guard works with. */
export interface GuardOptions {
  readonly nft: Nft
  readonly table: string
  /** Absent: VIPs answer. */
  readonly ping?: VipPing
}

/** The guard in the table of family inet that is named. */
export function openGuard({ nft, table, ping = 'answer' }: GuardOptions): Guard {
  return {
    read: async ({ signal }) => nft.readTable(table, { signal }),
    apply: async (state, { before, ops, signal }) => {
      const touched: TouchedElements = new Map()
      const count = (server: VirtualServer | undefined, step: 1 | -1) => {
        for (const element of server === undefined ? [] : guardElements(server)) {
          countElement(state, touched, { element, step })
        }
      }
      const current = new Map<string, VirtualServer | undefined>()
      for (const op of ops) {
        const key = formatVirtualServerKey(op.server)
        count(current.has(key) ? current.get(key) : before.get(key), -1)
        current.set(key, op.kind === 'server.ensure' ? op.server : undefined)
        count(current.get(key), 1)
      }
      await nft.apply({ table, ops: planTouched(state, touched) }, { signal })
    },
    repair: async (servers, { actual, signal }) => {
      const state: GuardState = new Map()
      const touched: TouchedElements = new Map()
      for (const server of servers) {
        for (const element of guardElements(server)) countElement(state, touched, { element, step: 1 })
      }
      const ops = planNftTable({ owner: 'lb-', desired: desiredGuardTable(state, ping), actual })
      await nft.apply({ table, ops }, { signal })
      return { repaired: ops.map((op) => `nft ${formatNftOp(table, op, { shown: shownElements })}`), state }
    },
  }
}
