import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type PortRange } from '../../core/model/resources.ts'
import { type DiscoveryInfo, type DiscoveryPort, type NetworkInfo, type Protocol } from '../../core/model/task.ts'
import { idOf, type Json, listOf, objectOf, textOf, wrappedList } from './json.ts'
import { type MesosStatus, type MesosTask } from './mesos.ts'

/**
 * A task of `/state` or of the v1 API; what of it makes no sense is left out, the rest is kept.
 * @returns undefined when it can have no name: without an id, a name or an agent
 */
export function parseTask(value: unknown, ofFramework?: string): MesosTask | undefined {
  const task = objectOf(value)
  const id = idOf(task['id'] ?? task['task_id'])
  const agentId = idOf(task['slave_id'] ?? task['agent_id'])
  const name = textOf(task['name'])
  if (id === '' || agentId === '') return undefined
  const discovery = parseDiscovery(task['discovery'])
  if (name === '' && discovery === undefined) return undefined
  return {
    id,
    name,
    frameworkId: ofFramework ?? idOf(task['framework_id']),
    agentId,
    state: textOf(task['state']),
    ports: parsePorts(task['resources']),
    statuses: listOf(task['statuses']).map(parseStatus),
    check: objectOf(task['health_check']) === task['health_check'] ? 'some' : 'none',
    ...(discovery === undefined ? {} : { discovery }),
  }
}

/** One status. */
export function parseStatus(value: unknown): MesosStatus {
  const status = objectOf(value)
  const healthy = status['healthy']
  const timestamp = Number(status['timestamp'] ?? 0)
  const infos = listOf(objectOf(status['container_status'])['network_infos'])
  const labels = wrappedList(status['labels'], 'labels').map(objectOf)
  const labelled = (key: string) =>
    labels.filter((label) => label['key'] === key).flatMap(({ value }) => parseIps([value]))
  return {
    state: textOf(status['state']),
    timestamp: Number.isFinite(timestamp) ? timestamp : 0,
    networks: infos.map(parseNetwork).filter(({ addresses }) => addresses.length > 0),
    docker: labelled('Docker.NetworkSettings.IPAddress'),
    mesos: labelled('MesosContainerizer.NetworkSettings.IPAddress'),
    ...(typeof healthy === 'boolean' ? { healthy } : {}),
  }
}

/** `ip_address` beside the list is of Mesos before 0.26. */
function parseNetwork(value: unknown): NetworkInfo {
  const info = objectOf(value)
  const listed = listOf(info['ip_addresses']).map((address) => objectOf(address)['ip_address'])
  return { name: textOf(info['name']), addresses: parseIps([...listed, info['ip_address']]) }
}

function parseIps(values: readonly unknown[]): readonly Ip[] {
  return values.flatMap((value) => {
    try {
      return [parseIp(textOf(value).trim())]
    } catch {
      return [] // ERR_IP_INVALID: an entry that is no address hides no other
    }
  })
}

/** `"[31000-31001, 31005-31005]"` in `/state`, where a single number is taken too; ranges in the v1 API. */
function parsePorts(resources: unknown): readonly PortRange[] {
  const text = textOf(objectOf(resources)['ports'])
  const written = [...text.matchAll(/(\d+)(?:\s*-\s*(\d+))?/g)].map(([, begin, end = begin]) => [begin, end] as const)
  const listed = listOf(resources)
    .map(objectOf)
    .filter(({ name }) => name === 'ports')
    .flatMap(({ ranges }) => listOf(objectOf(ranges)['range']).map(objectOf))
    .map(({ begin, end }) => [begin, end] as const)
  return [...written, ...listed]
    .map(([begin, end]) => ({ begin: Number(begin), end: Number(end) }))
    .filter(({ begin, end }) => begin >= 1 && begin <= end && end <= 65_535)
}

const visibilities: readonly DiscoveryInfo['visibility'][] = ['FRAMEWORK', 'CLUSTER', 'EXTERNAL']

function parseDiscovery(value: unknown): DiscoveryInfo | undefined {
  const info = objectOf(value)
  const name = textOf(info['name'])
  const ports = wrappedList(info['ports'], 'ports').flatMap((port) => parsePort(objectOf(port)))
  const visibility = visibilities.find((known) => known === info['visibility']) ?? 'CLUSTER'
  return name === '' && ports.length === 0 ? undefined : { name, visibility, ports }
}

function parsePort(port: Json): readonly DiscoveryPort[] {
  const number = Number(port['number'])
  if (!Number.isInteger(number) || number < 0 || number > 65_535) return []
  const name = textOf(port['name'])
  const labels = wrappedList(port['labels'], 'labels').map(objectOf)
  const protocol = textOf(port['protocol']).toLowerCase()
  const protocols = (['tcp', 'udp'] as const).filter((known) => protocol.split(',').includes(known))
  if (protocol !== '' && protocols.length === 0) return []
  return [
    {
      number,
      protocols: protocols satisfies readonly Protocol[],
      labels: Object.fromEntries(labels.map(({ key, value }) => [textOf(key), textOf(value)])),
      ...(name === '' ? {} : { name }),
    },
  ]
}
