import { type Ip } from '../../core/base/ip.ts'
import { keyedSerial } from '../../core/base/serial.ts'
import { type NodeName } from '../../core/model/ids.ts'
import {
  type BalancedFlow,
  type Conntrack,
  type DataPlane,
  formatVirtualServerKey,
  type LbOp,
  type VirtualServer,
} from '../dataplane.ts'
import { bypassUnreachable } from '../vip/reachable.ts'

/** A data plane that gives backends on unreachable nodes no new connections, whatever its user wants. */
export interface Bypass {
  readonly plane: DataPlane
  /** Changes which nodes are bypassed. @throws what the data plane throws; a repair makes it right then */
  set(unreachable: ReadonlySet<NodeName>, options: { readonly signal: AbortSignal }): Promise<void>
  /** What is wanted, and what it becomes by the bypass: for those who watch. */
  servers(): readonly BypassedServer[]
}

/** A virtual server as its user wants it, and with the weights that it gets here. The backends are in one order. */
export interface BypassedServer {
  readonly wanted: VirtualServer
  readonly effective: VirtualServer
}

/** Where backends are. */
export interface BypassOptions {
  /** This node: never bypassed. */
  readonly self: NodeName
  readonly placeOf: (address: Ip) => NodeName | undefined
  /** Absent where conntrack does not choose the backend: a connection that was not answered yet waits for the dead node. */
  readonly conntrack?: Pick<Conntrack, 'forgetUnanswered'>
}

const queue = 'plane'

/**
 * Wraps `plane`: what its user wants is remembered, and programmed with weight 0 for what is bypassed (with all weights, if
 * nothing else would be left). Programming, repairs and bypasses run one after another.
 */
export function openBypass(plane: DataPlane, { self, placeOf, conntrack }: BypassOptions): Bypass {
  const serial = keyedSerial()
  const wanted = new Map<string, VirtualServer>()
  let bypassed: ReadonlySet<NodeName> = new Set()
  const adjust = (server: VirtualServer, unreachable: ReadonlySet<NodeName>): VirtualServer => {
    if (unreachable.size === 0) return server
    const placed = server.backends.map((backend) => ({ node: placeOf(backend.address) ?? self, backend }))
    const group = bypassUnreachable(placed, unreachable)
    return group === placed ? server : { ...server, backends: group.map(({ backend }) => backend) }
  }
  const note = (op: LbOp): LbOp => {
    const key = formatVirtualServerKey(op.server)
    if (op.kind === 'server.remove') {
      wanted.delete(key)
      return op
    }
    wanted.set(key, op.server)
    return { kind: 'server.ensure', server: adjust(op.server, bypassed) }
  }
  return {
    plane: {
      name: plane.name,
      read: (options) => serial(queue, () => plane.read(options)),
      apply: (ops, options) => serial(queue, () => plane.apply(ops.map(note), options)),
      repair: (servers, options) =>
        serial(queue, () => {
          wanted.clear()
          for (const server of servers) wanted.set(formatVirtualServerKey(server), server)
          return plane.repair(
            servers.map((server) => adjust(server, bypassed)),
            options,
          )
        }),
      ...(plane.differs && {
        differs: (options) => serial(queue, async () => (await plane.differs?.(options)) ?? false),
      }),
      close: () => plane.close(),
    },
    set: (unreachable, options) =>
      serial(queue, async () => {
        const changes = [...wanted.values()].flatMap((server): readonly Change[] => {
          const [before, after] = [adjust(server, bypassed), adjust(server, unreachable)]
          return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ before, after }]
        })
        bypassed = unreachable
        if (changes.length === 0) return
        const ops = changes.map(({ after }): LbOp => ({ kind: 'server.ensure', server: after }))
        await plane.apply(ops, options)
        await conntrack?.forgetUnanswered(changes.flatMap(turnedAway), options)
      }),
    servers: () => [...wanted.values()].map((server) => ({ wanted: server, effective: adjust(server, bypassed) })),
  }
}

interface Change {
  readonly before: VirtualServer
  readonly after: VirtualServer
}

/**
 * Connections that are being made to a backend which gets nothing new any more. Their first packet was lost with the node:
 * the client sends it again after 1 s (RFC 6298, section 2), and it must not be led to the same backend. UDP flows go by
 * the change of weight alone.
 */
function turnedAway({ before, after }: Change): readonly BalancedFlow[] {
  if (after.protocol !== 'tcp') return []
  const { address, port, protocol } = after
  const serving = new Set(after.backends.flatMap((one) => (one.weight > 0 ? [`${one.address} ${one.port}`] : [])))
  return before.backends
    .filter((one) => one.weight > 0 && !serving.has(`${one.address} ${one.port}`))
    .map((one) => ({ server: { address, port, protocol }, backend: { address: one.address, port: one.port } }))
}
