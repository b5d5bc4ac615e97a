import { type BalancedFlow, formatVirtualServerKey, type LbOp, type VirtualServer } from './dataplane.ts'

/**
 * Flows that conntrack would go on sending to a backend that is gone: over UDP one that gets nothing new any more, over TCP
 * one that is taken out, whose connections then end with a reset at once instead of waiting for answers that never come.
 * A TCP connection to a backend of weight 0 lasts as long as it is listed. Also UDP flows of a server that had no backend.
 */
export function goneFlows(before: ReadonlyMap<string, VirtualServer>, ops: readonly LbOp[]): readonly BalancedFlow[] {
  return ops.flatMap(({ kind, server }) => {
    const old = before.get(formatVirtualServerKey(server))
    const revived = kind === 'server.ensure' && isActive(server) && (old === undefined || !isActive(old))
    if (revived && server.protocol === 'udp') return [untranslated(server)]
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

function isActive({ backends }: VirtualServer): boolean {
  return backends.some(({ weight }) => weight > 0)
}

/** What came while nothing served: conntrack goes on leaving such a flow untranslated. */
function untranslated({ address, port, protocol }: VirtualServer): BalancedFlow {
  return { server: { address, port, protocol }, backend: { address, port } }
}

function keptBackends(protocol: VirtualServer['protocol'], backends: VirtualServer['backends']): ReadonlySet<string> {
  const kept = protocol === 'udp' ? backends.filter(({ weight }) => weight > 0) : backends
  return new Set(kept.map(({ address, port }) => `${address} ${port}`))
}
