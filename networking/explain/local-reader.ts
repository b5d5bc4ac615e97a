import { hasCode } from '../../core/base/errors.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { readServers } from '../../lb/nftables/elements.ts'
import { openRouteLookup } from '../netlink/lookup.ts'
import { openRouteSocket } from '../netlink/route-socket.ts'
import { insideNetns, openNetns } from '../netns.ts'
import { openNftProcess } from '../nft/process.ts'
import { nftTable } from '../protocol.ts'
import { type NodeReader, type NodeState } from './reader.ts'

/** Where a node's namespace is, and how its name server is asked from inside. */
export interface LocalReaderOptions {
  readonly node: NodeName
  /** Path of its network namespace. */
  readonly netns: string
  readonly resolve: NodeReader['resolve']
}

/** Reads the kernel of a simulated host. @throws ERR_NETNS_NOT_FOUND, ERR_NATIVE_EPERM */
export function openLocalReader({ node, netns, resolve }: LocalReaderOptions): NodeReader {
  const namespace = openNetns(netns)
  const routes = openRouteSocket({ netns: namespace.fd })
  const kernel = openRouteLookup({ netns: namespace.fd })
  const nft = openNftProcess({ namespace: { fd: namespace.fd, inside: insideNetns } })
  const read = async (signal: AbortSignal): Promise<NodeState> => {
    const links = await routes.links()
    const sighted = links.map(
      (link) => [link.name, { ...link, carrier: kernel.carrier(link.name) === 'carrier' }] as const,
    )
    const table = await nft.readTable(nftTable, { signal })
    return {
      links: new Map(sighted),
      neighbours: await routes.neighbours(),
      fdb: await routes.fdb(),
      table,
      servers: table === undefined ? [] : readServers(table),
    }
  }
  let state: Promise<NodeState> | undefined
  return {
    node,
    state: ({ signal }) => {
      state ??= read(signal)
      return state
    },
    lookup: async (query) => {
      try {
        return kernel.lookup(query)
      } catch (error) {
        if (hasCode(error, 'ERR_NETLINK_ENODEV')) return { kind: 'refused', code: 'ENODEV' }
        throw error
      }
    },
    resolve,
    close: () => {
      nft.close()
      kernel.close()
      routes.close()
      namespace.close()
    },
  }
}
