import { desiredServers } from '../../../lb/vip/desired.ts'
import { type VirtualServer } from '../../../lb/dataplane.ts'
import { openConntrack } from '../../../networking/netlink/conntrack.ts'
import { AppError } from '../../base/errors.ts'
import { ipFamily } from '../../base/ip.ts'
import { type ClusterSnapshot } from '../../model/snapshot.ts'
import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { netnsPath } from '../up/layout.ts'
import { recordsOf } from '../up/sample.ts'
import { requireRoot } from './privilege.ts'
import { readSnapshot } from './snapshot.ts'
import { targetApi, targetLayout } from './target.ts'

const path = '/weft/v1/vips'
const domain = 'l4lb.thisdcos.directory'
/** IPPROTO_*, include/uapi/linux/in.h */
const protocolNumber = { tcp: 6, udp: 17 } as const

interface NamedServer extends VirtualServer {
  /** Absent: an address VIP. */
  readonly name: string | undefined
}

/** What the snapshot wants of every node; no one's backends are local here. */
function namedServers(snapshot: ClusterSnapshot): readonly NamedServer[] {
  const names = new Map(
    [...snapshot.vips.values()].flatMap(({ name, framework, addresses }) =>
      addresses.map((address) => [address, `${name}.${framework}`] as const),
    ),
  )
  const [anyNode] = snapshot.nodes.keys()
  if (anyNode === undefined) return []
  return desiredServers(snapshot, anyNode).map((server) => ({ name: names.get(server.address), ...server }))
}

/** `weft vip list`: VIPs with backends, then names that have addresses and no backends now. */
export async function listVips(globals: GlobalOptions): Promise<void> {
  const api = targetApi(globals)
  const servers = namedServers(await readSnapshot(api))
  const idle = (await recordsOf(api, path, 'all')).filter(({ state }) => state !== 'in-use')
  const rows = servers.map(({ name, address, port, protocol, backends }) => {
    const list = backends.map((backend) => `${backend.address}:${backend.port}${backend.weight > 0 ? '' : ' (no new)'}`)
    return [name === undefined ? '-' : `${name}.${domain}`, `${protocol} ${address}:${port}`, list.join(' ')]
  })
  const idleRows = idle.map((vip) => [
    `${vip['name']}.${vip['framework']}.${domain}`,
    String(vip['addresses']),
    `(${vip['state']})`,
  ])
  const head = ['NAME', 'ADDRESS', 'BACKENDS']
  print(globals.json ? servers : [...rows, ...idleRows], (all: string[][]) => formatTable(head, all), globals)
}

/** A backend of a VIP with what each host tracks of it. */
interface BackendFlows {
  readonly address: string
  readonly port: number
  readonly weight: number
  /** By host: connections that conntrack knows, those that ended just now included. */
  readonly flows: Readonly<Record<string, number>>
}

/** `weft vip show NAME|ADDRESS`: backends, and how many connections each host has to each now. Reads the hosts' kernels. */
export async function showVip(globals: GlobalOptions, which: string): Promise<void> {
  requireRoot('vip show')
  const wanted = which.replace(`.${domain}`, '')
  const servers = namedServers(await readSnapshot(targetApi(globals)))
  const chosen = servers.filter(({ name, address }) => [name, name?.split('.')[0], address].includes(wanted))
  if (chosen.length === 0) {
    throw new AppError('ERR_CLI_NO_VIP', `nothing is behind a VIP "${which}" now: weft vip list shows all`)
  }
  const { hosts } = targetLayout(globals)
  const found: (Omit<NamedServer, 'backends'> & { readonly backends: readonly BackendFlows[] })[] = []
  for (const server of chosen) {
    const counts = new Map<string, ReadonlyMap<string, number>>()
    for (const { name, netns } of hosts) counts.set(name, await countFlows(server, netnsPath(netns)))
    const backends = server.backends.map(({ address, port, weight }) => {
      const flows = [...counts].map(([host, byBackend]) => [host, byBackend.get(`${address} ${port}`) ?? 0] as const)
      return { address, port, weight, flows: Object.fromEntries(flows) }
    })
    found.push({ ...server, backends })
  }
  const head = ['VIP', 'BACKEND', 'WEIGHT', ...hosts.map(({ name }) => name.toUpperCase())]
  const rows = found.flatMap(({ protocol, address, port, backends }) =>
    backends.map((backend) => [
      `${protocol} ${address}:${port}`,
      `${backend.address}:${backend.port}`,
      String(backend.weight),
      ...Object.values(backend.flows).map(String),
    ]),
  )
  print(found, () => formatTable(head, rows), globals)
}

/** Tracked connections to the VIP, by the backend that they were led to. */
async function countFlows(server: VirtualServer, netns: string): Promise<ReadonlyMap<string, number>> {
  const table = openConntrack({ netns })
  try {
    const flows = await table.list({
      family: ipFamily(server.address),
      protocol: protocolNumber[server.protocol],
      original: { destination: server.address, destinationPort: server.port },
    })
    const counts = new Map<string, number>()
    for (const { reply } of flows) {
      const key = `${reply.source} ${reply.sourcePort}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    return counts
  } finally {
    table.close()
  }
}

/** Options of `weft vip create`. */
export interface CreateVipOptions {
  readonly address: readonly string[]
}

/** `weft vip create NAME.FRAMEWORK`: its addresses are nobody else's from now on. */
export async function createVip(globals: GlobalOptions & CreateVipOptions, key: string): Promise<void> {
  const [, name, framework] = /^([^.]*)\.(.+)$/.exec(key.replace(`.${domain}`, '')) ?? []
  if (name === undefined || framework === undefined) {
    throw new AppError('ERR_CLI_USAGE', `"${key}" is not NAME.FRAMEWORK, like web.marathon`)
  }
  const { body } = await targetApi(globals).send('POST', path, { name, framework, addresses: globals.address })
  const addresses = isRecord(body) ? String(body['addresses']) : ''
  print(body, () => `VIP ${name}.${framework} has ${addresses}, whether or not tasks are behind it`, globals)
}

/** `weft vip remove NAME.FRAMEWORK`: the reservation ends and the address rests; again: it is free at once. */
export async function removeVip(globals: GlobalOptions, key: string): Promise<void> {
  const plain = key.replace(`.${domain}`, '')
  const { body } = await targetApi(globals).send('DELETE', `${path}/${encodeURIComponent(plain)}`)
  const state = isRecord(body) ? body['state'] : undefined
  const resting = 'rests for some minutes before another name may get its address; remove it again to free that now'
  print(body, () => `VIP ${plain} ${state === 'forgotten' ? 'is removed' : resting}`, globals)
}
