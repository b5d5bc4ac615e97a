import { type DataPlane, formatVirtualServerKey, type LbOp, type VirtualServer } from './dataplane.ts'

/** A {@link DataPlane} in memory, with what tests look at. */
export interface FakePlane extends DataPlane {
  /** Every op that was applied, in order. */
  readonly applied: readonly LbOp[]
}

/** Virtual servers in a map. It balances nothing. */
export function openFakePlane(): FakePlane {
  const servers = new Map<string, VirtualServer>()
  const applied: LbOp[] = []
  const perform = (op: LbOp) => {
    if (op.kind === 'server.ensure') servers.set(formatVirtualServerKey(op.server), op.server)
    else servers.delete(formatVirtualServerKey(op.server))
    applied.push(op)
  }
  return {
    name: 'fake',
    applied,
    read: async ({ signal }) => {
      signal.throwIfAborted()
      return [...servers.values()]
    },
    apply: async (ops, { signal }) => {
      signal.throwIfAborted()
      for (const op of ops) perform(op)
    },
    repair: async (wanted, { signal }) => {
      signal.throwIfAborted()
      const keys = new Set(wanted.map(formatVirtualServerKey))
      const left = [...servers.values()].filter((server) => !keys.has(formatVirtualServerKey(server)))
      const differing = wanted.filter(
        (server) => JSON.stringify(servers.get(formatVirtualServerKey(server))) !== JSON.stringify(server),
      )
      for (const server of left) perform({ kind: 'server.remove', server })
      for (const server of differing) perform({ kind: 'server.ensure', server })
      return [
        ...left.map((server) => `remove ${formatVirtualServerKey(server)}`),
        ...differing.map((server) => `ensure ${formatVirtualServerKey(server)}`),
      ]
    },
    close: () => undefined,
  }
}
