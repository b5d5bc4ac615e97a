import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatRouteOp } from '../../../networking/netlink/format.ts'
import { type RouteOp } from '../../../networking/netlink/ops.ts'
import { type TestHost } from '../../support/hosts.ts'

/** Two files of commands, run one after the other in one namespace. */
export interface Batches {
  readonly name: string
  run(host: TestHost): void
}

const strip = (line: string) => line.replace(/^(ip|bridge) /, '')

function writeBatches(folder: string, name: string, lines: readonly string[]): Batches {
  const file = (tool: 'ip' | 'bridge') => {
    const path = join(folder, `${name.replace(/\W+/g, '-')}.${tool}`)
    const own = lines.filter((line) => line.startsWith(`${tool} `))
    writeFileSync(path, own.map((line) => `${strip(line)}\n`).join(''))
    return path
  }
  const [ip, bridge] = [file('ip'), file('bridge')]
  return {
    name,
    run: (host) => {
      host.run('ip', '-batch', ip)
      host.run('bridge', '-batch', bridge)
    },
  }
}

/** The very objects that we make, as `ip` and `bridge` make them: 5 for each node. */
export function sameObjects(folder: string, ops: readonly RouteOp[]): Batches {
  return writeBatches(folder, 'ip + bridge -batch, same objects', ops.map(formatRouteOp))
}

/**
 * The same reachability as operators write it, and as DC/OS and flannel program it: for each node a neighbour, an FDB
 * entry and a route `via VTEP onlink`; VTEP addresses by one connected prefix. 3 objects for each node, `add` and no
 * `replace`, so that `ip` has no more to do than is needed.
 */
export function routesViaVtep(folder: string, ops: readonly RouteOp[]): Batches {
  const gateways = new Map(ops.flatMap((op) => (op.kind === 'nexthop.replace' ? [[op.nexthop.id, op.nexthop]] : [])))
  const line = (op: RouteOp): string | undefined => {
    if (op.kind === 'address.replace') return `ip address add ${op.address.address}/16 dev ${op.address.device}`
    if (op.kind === 'nexthop.replace') return undefined
    if (op.kind !== 'route.replace') return formatRouteOp(op).replace(/ (neighbour|fdb) replace /, ' $1 add ')
    const { destination, nexthopId, preferredSource, mtuBytes } = op.route
    const nexthop = gateways.get(nexthopId ?? 0)
    if (nexthop === undefined) return formatRouteOp(op)
    if (destination.endsWith('/32')) return undefined
    const way = `via ${nexthop.gateway} dev ${nexthop.device} onlink src ${preferredSource}`
    return `ip route add ${destination} ${way} metric 87 mtu ${mtuBytes}`
  }
  return writeBatches(
    folder,
    'ip + bridge -batch, routes via VTEP',
    ops.flatMap((op) => line(op) ?? []),
  )
}
