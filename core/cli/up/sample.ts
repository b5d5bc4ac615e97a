import { type Api, isRecord } from '../api.ts'
import { waitForDeployment } from '../commands/wait.ts'
import { sampleApps, sampleVip } from '../sample/apps.ts'

/** A task of the sample. */
export interface SampleTask {
  readonly id: string
  /** Id of its app. */
  readonly app: string
  readonly node: string
  /** The first address. */
  readonly address: string
  readonly addresses: readonly string[]
  /** The same, by network. */
  readonly byNetwork: Readonly<Record<string, readonly string[]>>
}

/** Deploys both services and waits until the last version has reached every node. */
export async function deploySample(api: Api, instances: number): Promise<void> {
  const answers = []
  for (const app of sampleApps(instances)) answers.push(await api.send('POST', '/v2/apps', app))
  for (const { headers } of answers) {
    const deployment = headers.get('marathon-deployment-id')
    if (deployment !== null) await waitForDeployment(api, deployment)
  }
}

/** Running tasks with their addresses, ordered by app and node. */
export async function sampleTasks(api: Api): Promise<readonly SampleTask[]> {
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  return tasks
    .map((task) => {
      const networks = Array.isArray(task['networks']) ? task['networks'].filter(isRecord) : []
      const lists = networks.map(
        ({ name, addresses: list }) => [String(name), Array.isArray(list) ? list.map(String) : []] as const,
      )
      const addresses = lists.flatMap(([, list]) => list)
      const id = String(task['id'])
      const app = `/${id.slice(0, id.lastIndexOf('.')).replaceAll('_', '/')}`
      return {
        id,
        app,
        node: String(task['node']),
        address: addresses[0] ?? '',
        addresses,
        byNetwork: Object.fromEntries(lists),
      }
    })
    .toSorted((a, b) => `${a.app} ${a.node}`.localeCompare(`${b.app} ${b.node}`))
}

/** The addresses that the master gave to the sample's VIP, IPv4 first. */
export async function sampleVipAddresses(api: Api): Promise<readonly string[]> {
  const vips = await recordsOf(api, '/weft/v1/vips', 'vips')
  const [name] = sampleVip.name.split('.')
  const vip = vips.find((candidate) => candidate['name'] === name)
  const addresses = vip?.['addresses']
  return Array.isArray(addresses) ? addresses.map(String) : []
}

/** The list `key` of an answer's object. */
export async function recordsOf(api: Api, path: string, key: string): Promise<readonly Record<string, unknown>[]> {
  const body = await api.get(path)
  const list = isRecord(body) ? body[key] : undefined
  return Array.isArray(list) ? list.filter(isRecord) : []
}
