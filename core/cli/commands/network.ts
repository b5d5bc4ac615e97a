import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { convergeOn } from './node.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

const path = '/weft/v1/networks'

/** Options of `weft network create`. */
export interface CreateNetworkOptions {
  readonly subnet: readonly string[]
  readonly vni?: string
  readonly wait: boolean
}

/** `weft network list`. */
export async function listNetworks(globals: GlobalOptions): Promise<void> {
  const networks = await recordsOf(targetApi(globals), path, 'networks')
  const row = (network: Row) => {
    const nodes = listOf(network, 'nodes')
    const usage = nodes.flatMap((node) => listOf(node, 'usage'))
    const used = Math.max(0, ...[4, 6].map((family) => sum(usage.filter(ofFamily(family)), 'used')))
    return [
      ...texts(network, ['name', 'vni', 'subnets']),
      String(nodes.length),
      ...texts(network, ['tasks']),
      String(used),
    ]
  }
  print(
    networks,
    () => formatTable(['NETWORK', 'VNI', 'SUBNETS', 'NODES', 'TASKS', 'USED'], networks.map(row)),
    globals,
  )
}

/** `weft network show NAME`: used, free and resting addresses of each node's part. */
export async function showNetwork(globals: GlobalOptions, name: string): Promise<void> {
  const network = await targetApi(globals).get(pathOf(name))
  print(network, () => formatNetwork(isRecord(network) ? network : {}), globals)
}

/** `weft network create NAME`: resolves when every node has the network, unless told not to wait. */
export async function createNetwork(globals: GlobalOptions & CreateNetworkOptions, name: string): Promise<void> {
  const { subnet, vni, wait } = globals
  if (vni !== undefined && !/^\d{1,8}$/.test(vni))
    throw new AppError('ERR_CLI_USAGE', `"${vni}" is not a VNI: a number`)
  const wish = {
    name,
    ...(subnet.length === 0 ? {} : { subnets: subnet }),
    ...(vni === undefined ? {} : { vni: Number(vni) }),
  }
  const api = targetApi(globals)
  const { body } = await api.send('POST', path, wish)
  if (wait) await convergeOn(api, body)
  const network = isRecord(body) ? body : {}
  print(network, () => `network ${name} is created: VNI ${network['vni']}, ${String(network['subnets'])}`, globals)
}

/** `weft network remove NAME`: refused while a task, an app or a container uses it. */
export async function removeNetwork(globals: GlobalOptions & { readonly wait: boolean }, name: string): Promise<void> {
  const api = targetApi(globals)
  const { body } = await api.send('DELETE', pathOf(name))
  if (globals.wait) await convergeOn(api, body)
  print(body, () => `network ${name} is removed`, globals)
}

function formatNetwork(network: Row): string {
  const head = `${network['name']}: VNI ${network['vni']}, ${String(network['subnets'])}, ${network['tasks']} tasks`
  const rows = listOf(network, 'nodes').flatMap((node) => {
    const usage = listOf(node, 'usage')
    const subnets = Array.isArray(node['subnets']) ? node['subnets'] : []
    return subnets.map((subnet) => {
      const told = usage.find((one) => one['subnet'] === subnet) ?? {}
      return [String(node['node']), String(subnet), ...texts(told, ['used', 'free', 'resting'])]
    })
  })
  return [head, formatTable(['NODE', 'SUBNET', 'USED', 'FREE', 'RESTING'], rows)].join('\n')
}

function pathOf(name: string): string {
  return `${path}/${encodeURIComponent(name)}`
}

function ofFamily(family: number): (usage: Row) => boolean {
  return ({ subnet }) => String(subnet).includes(':') === (family === 6)
}

function sum(rows: readonly Row[], key: string): number {
  return rows.reduce((total, row) => total + Number(row[key] ?? 0), 0)
}

function listOf(row: Row, key: string): readonly Row[] {
  const value = row[key]
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function texts(row: Row, keys: readonly string[]): readonly string[] {
  return keys.map((key) => String(row[key] ?? '-'))
}
