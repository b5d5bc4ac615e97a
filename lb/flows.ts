import { type BalancedFlow, formatVirtualServerKey, type LbOp, type VirtualServer } from './dataplane.ts'

/**
 * Flows that conntrack would go on sending to a backend that is gone: over UDP one that gets nothing new any more, over TCP
 * one that is taken out, whose connections then end with a reset at once instead of waiting for answers that never come.
 * A TCP connection to a backend of weight 0 lasts as long as it is listed.
 */
export function goneFlows(before: ReadonlyMap<string, VirtualServer>, ops: readonly LbOp[]): readonly BalancedFlow[] {
  return ops.flatMap(({ kind, server }) => {
    const old = before.get(formatVirtualServerKey(server))
    if (old === undefined) return []
    const { address, port, protocol } = server
    const keeps = keptBackends(protocol, kind === 'server.remove' ? [] : server.backends)
    const had = protocol === 'udp' ? old.backends.filter(({ weight }) => weight > 0) : old.backends
    return had
      .filter((backend) => !keeps.has(`${backend.address} ${backend.port}`))
      .map((backend) => ({
        server: { address, port, protocol },
        backend: { address: backend.address, port: backend.port },
      }))
  })
}

function keptBackends(protocol: VirtualServer['protocol'], backends: VirtualServer['backends']): ReadonlySet<string> {
  const kept = protocol === 'udp' ? backends.filter(({ weight }) => weight > 0) : backends
  return new Set(kept.map(({ address, port }) => `${address} ${port}`))
}
