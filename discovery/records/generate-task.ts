import { type Ip } from '../../core/base/ip.ts'
import { type DiscoveryInfo, type DiscoveryPort } from '../../core/model/task.ts'
import { isServing } from '../../core/model/snapshot.ts'
import { agentLabel, type LabelRule, mangleDomain, mangleLabel } from '../dns/label.ts'
import { labelsOf, type Name } from '../dns/name.ts'
import { reverseName } from '../dns/reverse.ts'
import { type NamedTask } from './cluster.ts'
import { directoryDomain, type IpSource, type NamesConfig } from './config.ts'
import { frameworkContributions } from './generate.ts'
import {
  addressRecords,
  type Contribution,
  firstOfEachFamily,
  pointerRecord,
  serviceRecords,
  usableName,
} from './owned.ts'

/** What a task's records depend on besides the task. */
export interface TaskContext {
  readonly config: NamesConfig
  /** Address of the task's node; `undefined` while the node is unknown. */
  readonly agentAddress: Ip | undefined
  /** Address of the leading master, where the built-in framework runs. */
  readonly leaderAddress: Ip | undefined
  /** First 5 characters of zbase32(sha1(task id)). */
  readonly hash: (taskId: string) => string
}

/** The labels from which a task's names are put together. */
interface TaskNames {
  readonly task: readonly string[]
  /** `-h-s`, what makes a task's own name of its shared one. */
  readonly suffix: string
  readonly framework: readonly string[]
  readonly domain: readonly string[]
  readonly rule: LabelRule
  readonly weight: number
}

/** Audiences that a visibility admits. */
const admits: Readonly<Record<DiscoveryInfo['visibility'], readonly NamesConfig['audience'][]>> = {
  FRAMEWORK: ['framework'],
  CLUSTER: ['framework', 'cluster'],
  EXTERNAL: ['framework', 'cluster', 'external'],
}

/** True when the task's names are for the audience of this server, and lead to something that answers. */
function isServed(task: NamedTask, { audience, unhealthy }: NamesConfig): boolean {
  const visibility = task.discovery?.visibility ?? 'CLUSTER'
  if (!admits[visibility].includes(audience)) return false
  return unhealthy === 'served' ? task.state === 'TASK_RUNNING' : isServing(task)
}

/**
 * All records of a task (reference/mesos-dns.md, dns-proxy.md); none unless it serves, on a known node.
 */
export function taskContributions(task: NamedTask, context: TaskContext): readonly Contribution[] {
  const { config, agentAddress, hash } = context
  if (agentAddress === undefined || !isServed(task, config)) return []
  const framework = mangleDomain(task.framework, config.labels)
  if (framework.length === 0) return []
  const discovery = task.discovery !== undefined && task.discovery.name !== '' ? task.discovery : undefined
  const base = {
    suffix: `-${hash(task.id)}-${agentLabel(task.agentId)}`,
    framework,
    domain: labelsOf(config.domain),
    rule: config.labels,
    weight: config.serviceWeight,
  }
  const shown = discovery?.name ?? task.name
  const names: TaskNames = { ...base, task: [mangleLabel(shown, config.labels)] }
  const raw: TaskNames = { ...base, task: rawLabels(shown) }
  const parts = { task, discovery, agentAddress, addresses: firstOfEachFamily(taskAddresses(task, context)) }
  const mesos = [
    ...mesosRecords(names, parts),
    ...(discovery === undefined ? [] : mesosRecords(raw, parts)),
    ...frameworkRecords(task, context),
  ]
  if (config.content === 'mesos-dns') return mesos
  return [...mesos, ...directoryRecords(task, names, agentAddress), ...reverseRecords(task, ownName(names, []))]
}

/** Octets of the text as UTF-8, cut at its dots: the unmangled name that Mesos-DNS also serves. */
function rawLabels(text: string): readonly string[] {
  return Buffer.from(text, 'utf8').toString('latin1').split('.')
}

/** `task.framework[.slave].D` */
function sharedName({ task, framework, domain }: TaskNames, below: readonly string[]): Name | undefined {
  return usableName([...task, ...framework, ...below, ...domain])
}

/** `task-h-s.framework[.slave].D`. Where that label would be over 63 octets the task's part of it is cut. */
function ownName(names: TaskNames, below: readonly string[]): Name | undefined {
  const last = names.task.at(-1) ?? ''
  if (last === '') return undefined
  const own = `${last.slice(0, 63 - names.suffix.length)}${names.suffix}`
  return sharedName({ ...names, task: [...names.task.slice(0, -1), own] }, below)
}

/** What Mesos-DNS's records of a task are put together from. */
interface TaskParts {
  readonly task: NamedTask
  readonly discovery: DiscoveryInfo | undefined
  readonly agentAddress: Ip
  readonly addresses: readonly Ip[]
}

function mesosRecords(names: TaskNames, parts: TaskParts): readonly Contribution[] {
  const { task, discovery, agentAddress, addresses } = parts
  return [
    ...addressRecords(sharedName(names, []), addresses),
    ...addressRecords(ownName(names, []), addresses),
    ...addressRecords(sharedName(names, ['slave']), [agentAddress]),
    ...addressRecords(ownName(names, ['slave']), [agentAddress]),
    ...hostPortRecords(names, task, discovery === undefined ? [['slave'], []] : [['slave']]),
    ...(discovery?.ports ?? []).flatMap((port) => discoveryPortRecords(names, port)),
  ]
}

/** Host ports: under `.slave`, and without DiscoveryInfo under the framework too. */
function hostPortRecords(
  names: TaskNames,
  task: NamedTask,
  places: readonly (readonly string[])[],
): readonly Contribution[] {
  const target = ownName(names, ['slave'])
  const owners = places.flatMap((below) => ['tcp', 'udp'].map((protocol) => serviceName(names, { protocol, below })))
  return task.ports.flatMap(({ begin, end }) =>
    Array.from({ length: end - begin + 1 }, (_, i) => begin + i).flatMap((port) =>
      owners.flatMap((owner) => serviceRecords(owner, target, { port, weight: names.weight })),
    ),
  )
}

/** A port of DiscoveryInfo: `_name._proto.framework.D`, and `_port._name._proto.framework.D` when it has a name. */
function discoveryPortRecords(names: TaskNames, port: DiscoveryPort): readonly Contribution[] {
  const target = ownName(names, [])
  const label = mangleLabel(port.name ?? '', names.rule)
  const protocols = port.protocols.length === 0 ? (['tcp', 'udp'] as const) : port.protocols
  return protocols.flatMap((protocol) => {
    const plain = serviceName(names, { protocol, below: [] })
    const named = label === '' ? undefined : serviceName(names, { port: label, protocol, below: [] })
    const service = { port: port.number, weight: names.weight }
    return [...serviceRecords(plain, target, service), ...serviceRecords(named, target, service)]
  })
}

/** `[_port.]_task._proto.framework[.slave].D`: RFC 2782, with the task as the service. */
function serviceName(
  { task, framework, domain }: TaskNames,
  { port, protocol, below }: { readonly port?: string; readonly protocol: string; readonly below: readonly string[] },
): Name | undefined {
  const [first, ...rest] = task
  if (first === undefined || first === '') return undefined
  const before = port === undefined ? [] : [`_${port}`]
  return usableName([...before, `_${first}`, ...rest, `_${protocol}`, ...framework, ...below, ...domain])
}

/** The built-in framework's host and port, as long as one of its tasks serves. */
function frameworkRecords({ framework }: NamedTask, { config, leaderAddress }: TaskContext): readonly Contribution[] {
  if (leaderAddress === undefined) return []
  return frameworkContributions({ name: framework, addresses: [leaderAddress], port: config.ports.master }, config)
}

/**
 * dcos-net's names, and one for each network: `TASK.FRAMEWORK.NETWORK.containerip.…`. `autoip` is what a client outside of
 * the network can reach: the host's, when ports are mapped.
 */
function directoryRecords(task: NamedTask, names: TaskNames, agentAddress: Ip): readonly Contribution[] {
  const networks = task.networks.flatMap(({ addresses }) => addresses)
  const own = networks.length > 0 ? networks : [agentAddress]
  const mapped = task.portMappings.some(({ hostPort }) => hostPort > 0)
  const kinds: readonly (readonly [readonly string[], readonly Ip[]])[] = [
    [['containerip'], own],
    [['agentip'], [agentAddress]],
    [['autoip'], mapped ? [agentAddress] : own],
    ...task.networks
      .map(({ name, addresses }) => [mangleLabel(name), addresses] as const)
      .map(([label, addresses]) => [[label, 'containerip'], addresses] as const),
  ]
  return kinds.flatMap(([kind, addresses]) =>
    addressRecords(
      usableName([...names.task, ...names.framework, ...kind, 'dcos', ...labelsOf(directoryDomain)]),
      addresses,
    ),
  )
}

/** Back from an address to the one task that has it; a node's own address leads to the node instead. */
function reverseRecords(task: NamedTask, name: Name | undefined): readonly Contribution[] {
  if (name === undefined) return []
  return task.networks
    .filter((network) => network.name !== '')
    .flatMap(({ addresses }) => addresses.map((address) => pointerRecord(reverseName(address), name)))
}

/** Of the first source that has any. */
function taskAddresses(task: NamedTask, { config, agentAddress }: TaskContext): readonly Ip[] {
  const found: Readonly<Record<IpSource, readonly Ip[]>> = {
    host: agentAddress === undefined ? [] : [agentAddress],
    docker: task.labelled?.docker ?? [],
    mesos: task.labelled?.mesos ?? [],
    netinfo: task.networks.flatMap(({ addresses }) => addresses),
  }
  for (const source of config.ipSources) if (found[source].length > 0) return found[source]
  return []
}
