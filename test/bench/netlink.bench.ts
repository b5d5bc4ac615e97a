import { parseIp } from '../../core/base/ip.ts'
import { parseCidr } from '../../core/base/cidr.ts'
import { parseMac } from '../../core/model/ids.ts'
import { formatRouteOp } from '../../networking/netlink/format.ts'
import { type RouteOp } from '../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { routeProtocol } from '../../networking/protocol.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bench } from './report.ts'

const objects = 20_000
const rounds = 15
const device = 'bench0'

const octets = (i: number) => `${(i >> 8) & 255}.${i & 255}`

function neighbours(): readonly RouteOp[] {
  const mac = parseMac('02:00:00:00:00:01')
  return Array.from({ length: objects }, (_, i) => ({
    kind: 'neighbour.replace',
    neighbour: { device, address: parseIp(`10.1.${octets(i)}`), mac },
  }))
}

/** A nexthop object for each remote node, and the route of its subnet over it. */
function routes(): readonly RouteOp[] {
  return Array.from({ length: objects / 2 }, (_, i): readonly RouteOp[] => [
    {
      kind: 'nexthop.replace',
      nexthop: {
        id: i + 1,
        device,
        gateway: parseIp(`10.1.${octets(i)}`),
        family: 4,
        onlink: true,
        protocol: routeProtocol,
      },
    },
    {
      kind: 'route.replace',
      route: {
        destination: parseCidr(`11.${octets(i)}.0/24`),
        type: 'unicast',
        protocol: routeProtocol,
        nexthopId: i + 1,
      },
    },
  ]).flat()
}

/**
 * A fresh namespace with a device that is up. All are removed at the very end: the kernel frees what a namespace had in
 * the background, which would slow whatever is measured then.
 */
function freshHost(hosts: TestHost[]): TestHost {
  const host = makeHost('netlink')
  hosts.push(host)
  host.run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'bench1')
  for (const end of [device, 'bench1']) host.run('ip', 'link', 'set', end, 'up')
  return host
}

async function perSecond(count: number, run: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await run()
  return (count * 1000) / (performance.now() - start)
}

async function measureOurs(host: TestHost, ops: readonly RouteOp[]): Promise<number> {
  const socket = openRouteSocket({ netns: host.path })
  try {
    return await perSecond(ops.length, async () => {
      for (const outcome of await socket.perform(ops)) if (!outcome.ok) throw outcome.error
    })
  } finally {
    socket.close()
  }
}

interface Setting {
  readonly hosts: TestHost[]
  readonly folder: string
}

async function compare(ops: readonly RouteOp[], { hosts, folder }: Setting): Promise<readonly [number, number]> {
  const script = join(folder, 'batch')
  writeFileSync(script, ops.map((op) => `${formatRouteOp(op).replace(/^ip /, '')}\n`).join(''))
  const ours: number[] = []
  const peer: number[] = []
  for (let round = 0; round < rounds; round++) {
    ours.push(await measureOurs(freshHost(hosts), ops))
    const host = freshHost(hosts)
    peer.push(await perSecond(ops.length, async () => void host.run('ip', '-batch', script)))
  }
  // The best of each: whatever else the machine does only ever slows.
  return [Math.max(...ours), Math.max(...peer)]
}

/** Netlink batches beside `ip -batch` with the same commands. Goal of the main job: 3 times as fast. */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const hosts: TestHost[] = []
  try {
    for (const [metric, ops] of [
      ['neighbours/s', neighbours()],
      ['routes with nexthop objects, ops/s', routes()],
    ] as const) {
      const [ours, peer] = await compare(ops, { hosts, folder })
      const ratio = ours / peer
      const conditions = `${ops.length} ops into a fresh namespace, best of ${rounds} alternating rounds`
      report({
        bench: 'netlink',
        metric,
        ours: Math.round(ours),
        peer: Math.round(peer),
        peerName: 'ip -batch',
        ratio,
        goal: 'ratio >= 3',
        holds: ratio >= 3,
        conditions,
      })
    }
  } finally {
    for (const host of hosts) host.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
