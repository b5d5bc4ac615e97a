import { AppError, hasCode } from '../../core/base/errors.ts'
import { cidrContains } from '../../core/base/cidr.ts'
import { type Ip, ipFamily, parseIp } from '../../core/base/ip.ts'
import { type ClusterSnapshot, type Network, type RunningTask } from '../../core/model/snapshot.ts'
import { type Protocol } from '../../core/model/task.ts'
import { containerAddresses } from '../isolation/judge.ts'
import { type Endpoint } from './model.ts'

/** Where to, as it was written: `web.marathon.mesos:80/udp`. */
export interface Target {
  readonly host: string
  readonly port?: number
  readonly protocol: Protocol
}

/**
 * `HOST[:PORT[/PROTO]]`; an IPv6 address with a port is in brackets.
 * @throws ERR_EXPLAIN_TARGET
 */
export function parseTarget(text: string): Target {
  const bare = parseAddress(text)
  if (bare !== undefined) return { host: bare, protocol: 'tcp' }
  const match = /^(?:\[(?<six>[^\]]+)\]|(?<host>[^:[\]/]+))(?::(?<port>\d{1,5}))?(?:\/(?<protocol>tcp|udp))?$/.exec(
    text,
  )
  const { six, host = six, port, protocol } = match?.groups ?? {}
  const number = port === undefined ? undefined : Number(port)
  if (host === undefined || number === 0 || (number ?? 1) > 65_535) {
    const advice = 'write a task, name or address, then :PORT and /tcp or /udp if wanted; [ADDRESS]:PORT for IPv6'
    throw new AppError('ERR_EXPLAIN_TARGET', `"${text}" is no destination: ${advice}`)
  }
  return { host, protocol: protocol === 'udp' ? 'udp' : 'tcp', ...(number === undefined ? {} : { port: number }) }
}

/** The address, or undefined for any other text. */
export function parseAddress(text: string): Ip | undefined {
  try {
    return parseIp(text)
  } catch (error) {
    if (hasCode(error, 'ERR_IP_INVALID')) return undefined
    throw error
  }
}

/** By id, by an app's id (its first task), or by the beginning of an id. @throws ERR_EXPLAIN_AMBIGUOUS */
export function findTask({ tasks }: Pick<ClusterSnapshot, 'tasks'>, text: string): RunningTask | undefined {
  const prefix = text.replace(/^\//, '').replaceAll('/', '_')
  const all = [...tasks.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const exact = all.find(({ id }) => id === text)
  const ofApp = all.find(({ id }) => id.slice(0, id.lastIndexOf('.')) === prefix)
  const beginning = all.filter(({ id }) => id.startsWith(prefix))
  if (exact === undefined && ofApp === undefined && beginning.length > 1) {
    const ids = beginning.slice(0, 5).map(({ id }) => id)
    throw new AppError('ERR_EXPLAIN_AMBIGUOUS', `"${text}" is the beginning of several tasks: ${ids.join(', ')}`)
  }
  return exact ?? ofApp ?? beginning[0]
}

/** Every address that a task or host has, each as an endpoint; empty for any other text. */
export function namedEndpoints(snapshot: ClusterSnapshot, text: string): readonly Endpoint[] {
  const node = [...snapshot.nodes.values()].find(({ name }) => name === text)
  if (node !== undefined) {
    const host = { node: node.name, name: `host ${node.name}`, kind: 'host' } as const
    return [{ ...host, address: node.underlay }, ...node.vtep.addresses.map((address) => ({ ...host, address }))]
  }
  const task = findTask(snapshot, text)
  return task === undefined ? [] : taskEndpoints(snapshot, task)
}

function taskEndpoints({ nodes }: ClusterSnapshot, task: RunningTask): readonly Endpoint[] {
  const addresses = containerAddresses(task)
  const name = `task ${task.id}`
  if (addresses.length > 0) return addresses.map((address) => ({ address, node: task.node, name, kind: 'container' }))
  const underlay = nodes.get(task.node)?.underlay
  return underlay === undefined ? [] : [{ address: underlay, node: task.node, name, kind: 'host' }]
}

/** Whose the address is; a container that no task of the cluster has counts as the node's whose subnet it is of. */
export function endpointOf(snapshot: ClusterSnapshot, address: Ip): Endpoint {
  for (const task of snapshot.tasks.values()) {
    if (!containerAddresses(task).includes(address)) continue
    return { address, node: task.node, name: `task ${task.id}`, kind: 'container' }
  }
  for (const { name, underlay, vtep, subnets } of snapshot.nodes.values()) {
    if (underlay === address || vtep.addresses.includes(address)) {
      return { address, node: name, name: `host ${name}`, kind: 'host' }
    }
    if (!subnets.some((share) => share.subnets.some((subnet) => cidrContains(subnet, address)))) continue
    return { address, node: name, name: `address ${address}`, kind: 'container' }
  }
  return { address, name: `address ${address}`, kind: 'outside' }
}

/**
 * The source that a connection to `destination` has: of a container, its address in the destination's network, else the
 * first of the IP version (its default route is by its first interface). Undefined when it has none of that version.
 */
export function sourceFor(
  sources: readonly Endpoint[],
  destination: Ip,
  network: Network | undefined,
): Endpoint | undefined {
  const fitting = sources.filter(({ address }) => ipFamily(address) === ipFamily(destination))
  const near = fitting.find(({ address }) => network?.subnets.some((subnet) => cidrContains(subnet, address)) === true)
  return near ?? fitting[0]
}
