import { hasCode } from '../../core/base/errors.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type VirtualServer } from '../../lb/dataplane.ts'
import { guardSet } from '../../lb/ipvs/guard.ts'
import { openGuard } from '../../lb/ipvs/guard-apply.ts'
import { openIpvsPlane } from '../../lb/ipvs/plane.ts'
import { openIpvsTable } from '../../lb/ipvs/table.ts'
import { readServers } from '../../lb/nftables/elements.ts'
import { openRouteLookup } from '../netlink/lookup.ts'
import { type NetnsTarget } from '../netlink/namespace.ts'
import { openRouteSocket } from '../netlink/route-socket.ts'
import { insideNetns, openNetns } from '../netns.ts'
import { type Nft } from '../nft/nft.ts'
import { openNftProcess } from '../nft/process.ts'
import { type NftTable } from '../nft/table.ts'
import { nftTable } from '../protocol.ts'
import { type NodeReader, type NodeState } from './reader.ts'

/** Where a node's namespace is, and how its name server is asked from inside. */
export interface LocalReaderOptions {
  readonly node: NodeName
  /** Path of its network namespace. */
  readonly netns: string
  readonly resolve: NodeReader['resolve']
}

interface Balanced {
  readonly nft: Nft
  readonly table: NftTable
  readonly netns: NetnsTarget
  readonly signal: AbortSignal
}

/** What the node's data plane has: its IPVS where the rules that stand beside that are there, else its maps. */
async function readBalanced({ nft, table, netns, signal }: Balanced): Promise<readonly VirtualServer[]> {
  if (!table.sets.has(guardSet('none', 4))) return readServers(table)
  const ipvs = openIpvsTable({ netns })
  try {
    const guard = openGuard({ nft, table: nftTable })
    return await openIpvsPlane({ table: ipvs, guard, sysctl: untouched, kernelRelease: '', ranges: [] }).read({
      signal,
    })
  } finally {
    ipvs.close()
  }
}

/** Reading looks at no settings. */
const untouched = { read: () => undefined, write: () => undefined }

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
      servers: table === undefined ? [] : await readBalanced({ nft, table, netns: namespace.fd, signal }),
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
