import { mkdirSync, readdirSync } from 'node:fs'
import { AppError, hasCode } from '../../base/errors.ts'
import { type RouteOp, type RouteSocket } from '../../../networking/netlink/ops.ts'
import { openRouteSocket } from '../../../networking/netlink/route-socket.ts'
import { createNetns, deleteNetns, openNetns } from '../../../networking/netns.ts'
import { writeHostResolvConf } from './resolv.ts'
import { type ClusterLayout, type HostLayout, netnsPath, underlayDevice } from './layout.ts'

const bridge = 'br0'

/** Makes the segment and plugs each host in: namespaces and links only, nothing in the machine's own namespace. */
export async function makeHosts(layout: ClusterLayout): Promise<void> {
  mkdirSync('/run/netns', { recursive: true })
  createNetns(netnsPath(layout.segmentNetns))
  const segment = openRouteSocket({ netns: netnsPath(layout.segmentNetns) })
  try {
    await performAll(segment, [
      { kind: 'link.add', link: { type: 'bridge', name: bridge } },
      { kind: 'link.set', name: bridge, change: { state: 'up' } },
    ])
    const masterIndex = (await segment.link(bridge))?.index ?? 0
    for (const host of layout.hosts) await makeHost(layout, host, { segment, masterIndex })
  } finally {
    segment.close()
  }
}

/** One machine: a namespace with eth0 on the segment, and nothing else. */
async function makeHost(
  layout: ClusterLayout,
  host: HostLayout,
  { segment, masterIndex }: { readonly segment: RouteSocket; readonly masterIndex: number },
): Promise<void> {
  mkdirSync(host.directory, { recursive: true, mode: 0o700 })
  writeHostResolvConf(host)
  createNetns(netnsPath(host.netns))
  const port = `p-${host.name}`
  const segmentNs = openNetns(netnsPath(layout.segmentNetns))
  const routes = openRouteSocket({ netns: netnsPath(host.netns) })
  try {
    await performAll(routes, [
      { kind: 'link.add', link: { type: 'veth', name: underlayDevice, peer: { name: port, netnsFd: segmentNs.fd } } },
      { kind: 'link.set', name: underlayDevice, change: { state: 'up' } },
      {
        kind: 'address.replace',
        address: { device: underlayDevice, address: host.underlay, prefixLength: layout.underlayLength },
      },
    ])
    await performAll(segment, [{ kind: 'link.set', name: port, change: { masterIndex, state: 'up' } }])
  } finally {
    routes.close()
    segmentNs.close()
  }
}

/** Removes every namespace of the cluster, whichever of them there are; their links go with them. */
export function removeHosts(cluster: string): void {
  for (const name of listNetns()) if (name.startsWith(`weft-${cluster}-`)) deleteNetns(netnsPath(name))
}

function listNetns(): readonly string[] {
  try {
    return readdirSync('/run/netns')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

async function performAll(routes: RouteSocket, ops: readonly RouteOp[]): Promise<void> {
  const outcomes = await routes.perform(ops)
  const errors = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error]))
  if (errors.length > 0) {
    throw new AppError('ERR_CLI_HOSTS', `can't make the simulated hosts: ${errors[0]?.message}`, {
      cause: new AggregateError(errors),
    })
  }
}
