import { type Test } from 'tap'
import { silentLog } from '../../core/base/log.ts'
import { leaseKeyOf } from '../../networking/ipam/lease.ts'
import { openConntrack } from '../../networking/netlink/conntrack.ts'
import { openNft } from '../../networking/nft/open.ts'
import { loopbackSettings } from '../../networking/attach/loopback.ts'
import { openPortmap, type Portmap } from '../../networking/portmap/port-mapper.ts'
import { nftTable } from '../../networking/protocol.ts'
import { buildClients, callPlugin, type CniNode, type CniOutcome, makeCniNode } from './cni-node.ts'
import { makeHost, makeSegment, type TestHost } from './hosts.ts'
import { nftNamespace } from './nft-namespace.ts'

/** Addresses of the node and of the client on their segment. */
export const segmentAddresses = {
  node: { 4: '192.0.2.10', 6: '2001:db8:1::10' },
  client: { 4: '192.0.2.20', 6: '2001:db8:1::20' },
} as const

/** A node that maps ports, with another host on its segment. */
export async function makePortmapWorld(t: Pick<Test, 'teardown'>) {
  const node = makeCniNode('pm')
  t.teardown(() => node.remove())
  const segment = makeSegment()
  t.teardown(() => segment.host.remove())
  const client = makeHost('client')
  t.teardown(() => client.remove())
  for (const [host, { 4: ip4, 6: ip6 }] of [
    [node.host, segmentAddresses.node],
    [client, segmentAddresses.client],
  ] as const) {
    segment.plug(host, 'eth0', `${ip4}/24`, `${ip6}/64`)
  }
  node.host.run('sysctl', '-qw', 'net.ipv4.ip_forward=1')
  const conntrack = openConntrack({ netns: node.host.path })
  t.teardown(() => conntrack.close())
  const nft = await openNft({ namespace: nftNamespace(node.host) })
  t.teardown(() => nft.close())
  let portmap: Portmap | undefined
  const [plugin = ''] = buildClients(node.directory).values()
  return {
    ...{ node, client, conntrack },
    /** Starts the daemon's half, as after a restart. */
    start: async (): Promise<Portmap> => {
      const { kernel } = node
      const opened = openPortmap({
        ...{ nft, table: nftTable, conntrack },
        leases: () => node.leases().list(),
        allowLoopback: (key) =>
          kernel.writeSettings('host', loopbackSettings(node.leases().get(leaseKeyOf(key))?.hostLink)),
      })
      await node.start({ portMapper: opened.mapper, log: silentLog })
      portmap = opened
      return opened
    },
    portmap: () => portmap,
    call: (command: 'ADD' | 'DEL', container: TestHost, runtimeConfig: object = {}) =>
      call({ plugin, node }, { command, container, runtimeConfig }),
  }
}

function call(
  { plugin, node }: { readonly plugin: string; readonly node: CniNode },
  { command, container, runtimeConfig }: { command: 'ADD' | 'DEL'; container: TestHost; runtimeConfig: object },
): Promise<CniOutcome> {
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: container.name,
    CNI_NETNS: container.path,
    CNI_IFNAME: 'eth0',
  }
  const config = { cniVersion: '1.1.0', name: 'dcos', type: 'weft', socket: node.socketPath, runtimeConfig }
  return callPlugin(plugin, env, config)
}
