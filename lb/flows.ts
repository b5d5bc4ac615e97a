import { type BalancedFlow, formatVirtualServerKey, type LbOp, type VirtualServer } from './dataplane.ts'

/**
 * UDP flows that conntrack would go on sending to a backend that gets nothing new any more. TCP connections end by
 * themselves, and may last until the backend is really gone.
 */
export function goneFlows(before: ReadonlyMap<string, VirtualServer>, ops: readonly LbOp[]): readonly BalancedFlow[] {
  return ops.flatMap(({ kind, server }) => {
    const old = before.get(formatVirtualServerKey(server))
    if (old === undefined || server.protocol !== 'udp') return []
    const next = kind === 'server.remove' ? [] : server.backends
    const active = new Set(next.filter(({ weight }) => weight > 0).map(({ address, port }) => `${address} ${port}`))
    const { address, port, protocol } = server
    return old.backends
      .filter((backend) => backend.weight > 0 && !active.has(`${backend.address} ${backend.port}`))
      .map((backend) => ({
        server: { address, port, protocol },
        backend: { address: backend.address, port: backend.port },
      }))
  })
}
