import { createHash } from 'node:crypto'
import { type NamedCluster, type NamedTask } from '../../discovery/records/cluster.ts'

/** How the reference makes names. */
export interface ReferenceOptions {
  readonly self: string
  readonly mostOctets: number
  /** Characters that a label may not begin with. */
  readonly notFirst: string
  readonly sources: readonly string[]
}

/**
 * All records of a cluster as `owner TYPE data` lines, sorted: the rules of reference/mesos-dns.md and dns-proxy.md written
 * down once more, in as plain a way as can be, sharing no code with what it judges.
 */
export function referenceRecords(cluster: NamedCluster, options: ReferenceOptions): readonly string[] {
  const lines = new Set<string>()
  const add = (owner: string, type: string, data: string) => {
    const labels = owner.split('.')
    if (labels.some((label) => label.length < 1 || label.length > 63) || owner.length > 253) return
    lines.add(`${owner}. ${type} ${data}`)
  }
  const host = (owner: string, address: string) => add(owner, address.includes(':') ? 'AAAA' : 'A', address)
  const nodes = [...cluster.nodes.values()]
  const leader = nodes.find(({ master }) => master === 'leader')
  host('ready.spartan', '127.0.0.1')
  host('localhost', '127.0.0.1')
  host('localhost', '::1')
  for (const owner of ['ns.spartan', 'ns1.mesos']) host(owner, '198.51.100.1')
  for (const { name, underlay, agentId } of nodes) {
    host(`${name}.node.thisdcos.directory`, underlay)
    add(reversed(underlay), 'PTR', `${name}.node.thisdcos.directory.`)
    if (name === options.self) host('thisnode.thisdcos.directory', underlay)
    if (agentId === undefined) continue
    host('slave.mesos', underlay)
    add('_slave._tcp.mesos', 'SRV', '0 1 5051 slave.mesos.')
  }
  const masters = nodes.filter(({ master }) => master !== undefined).sort((a, b) => (a.name > b.name ? 1 : -1))
  for (const [i, { underlay }] of masters.entries()) {
    for (const owner of ['master.mesos', `master${i}.mesos`, 'master.dcos.thisdcos.directory']) host(owner, underlay)
    for (let n = i; n < 5; n += masters.length) host(`zk-${n + 1}.zk`, underlay)
  }
  if (leader !== undefined) {
    for (const owner of ['leader.mesos', 'leader.dcos.thisdcos.directory']) host(owner, leader.underlay)
    for (const protocol of ['tcp', 'udp']) add(`_leader._${protocol}.mesos`, 'SRV', '0 1 5050 leader.mesos.')
  }
  for (const { name, framework, addresses } of cluster.vips.values()) {
    const owner = `${name}.${domainOf(framework, options)}.l4lb.thisdcos.directory`
    for (const address of addresses) {
      host(owner, address)
      add(reversed(address), 'PTR', `${owner}.`)
    }
  }
  const ground = { cluster, options, add, host, leader: leader?.underlay }
  frameworkRecords(ground)
  for (const task of cluster.tasks.values()) taskRecords(task, ground)
  return [...lines].sort()
}

interface Ground {
  readonly cluster: NamedCluster
  readonly options: ReferenceOptions
  readonly leader: string | undefined
  add(owner: string, type: string, data: string): void
  host(owner: string, address: string): void
}

/** A task under one of its names. */
interface Named extends Ground {
  readonly task: NamedTask
  readonly node: string
  readonly name: string
  /** With hash and agent. */
  readonly own: string
  readonly framework: string
}

function frameworkRecords({ cluster, options, add, host }: Ground): void {
  for (const { name, addresses, port } of cluster.frameworks?.values() ?? []) {
    const owner = `${domainOf(name, options)}.mesos`
    for (const address of addresses) host(owner, address)
    if (port !== undefined) add(`_framework._tcp.${owner}`, 'SRV', `0 1 ${port} ${owner}.`)
  }
}

function taskRecords(task: NamedTask, ground: Ground): void {
  const { cluster, options, add, host, leader } = ground
  const node = cluster.nodes.get(task.node)?.underlay
  const serves = task.state === 'TASK_RUNNING' && (task.health === 'healthy' || task.health === 'unchecked')
  if (node === undefined || !serves) return
  const framework = domainOf(task.framework, options)
  const told = task.discovery?.name
  const mangled = labelOf((told ?? task.name).replaceAll('.', '-'), options)
  const suffix = `-${hashOf(task.id)}-${task.agentId.split('-').at(-1)?.toLowerCase()}`
  for (const name of told === undefined ? [mangled] : [mangled, told]) {
    const parts = name.split('.')
    const own = [...parts.slice(0, -1), `${(parts.at(-1) ?? '').slice(0, 63 - suffix.length)}${suffix}`].join('.')
    const named = { ...ground, task, node, name, own, framework }
    if (name === '') continue
    addresses(named)
    hostPorts(named)
    discoveryPorts(named)
  }
  if (leader !== undefined && (cluster.frameworks?.size ?? 0) === 0) {
    host(`${framework}.mesos`, leader)
    add(`_framework._tcp.${framework}.mesos`, 'SRV', `0 1 5050 ${framework}.mesos.`)
  }
  if (mangled === '') return
  const own = `${mangled.slice(0, 63 - suffix.length)}${suffix}`
  directory({ ...ground, task, node, name: mangled, own, framework })
}

function addresses({ task, node, name, own, framework, options, host }: Named): void {
  const netinfo = task.networks.flatMap((network) => network.addresses)
  const found: Record<string, readonly string[]> = { host: [node], netinfo, ...task.labelled }
  const source = options.sources.find((candidate) => (found[candidate] ?? []).length > 0) ?? ''
  const four = found[source]?.find((address) => !address.includes(':'))
  const six = found[source]?.find((address) => address.includes(':'))
  for (const owner of [name, own]) {
    for (const address of [four, six]) if (address !== undefined) host(`${owner}.${framework}.mesos`, address)
    host(`${owner}.${framework}.slave.mesos`, node)
  }
}

function hostPorts({ task, name, own, framework, add }: Named): void {
  for (const { begin, end } of task.ports) {
    for (let port = begin; port <= end; port++) {
      const data = `0 1 ${port} ${own}.${framework}.slave.mesos.`
      for (const service of [`_${name}._tcp.${framework}`, `_${name}._udp.${framework}`]) {
        add(`${service}.slave.mesos`, 'SRV', data)
        if (task.discovery === undefined) add(`${service}.mesos`, 'SRV', data)
      }
    }
  }
}

function discoveryPorts({ task, name, own, framework, options, add }: Named): void {
  for (const port of task.discovery?.ports ?? []) {
    for (const protocol of port.protocols.length === 0 ? ['tcp', 'udp'] : port.protocols) {
      const service = `_${name}._${protocol}.${framework}.mesos`
      const data = `0 1 ${port.number} ${own}.${framework}.mesos.`
      add(service, 'SRV', data)
      if (port.name === undefined) continue
      add(`_${labelOf(port.name.replaceAll('.', '-'), options)}.${service}`, 'SRV', data)
    }
  }
}

function directory({ task, node, name, own, framework, add, host }: Named): void {
  const at = (kind: string) => `${name}.${framework}.${kind}.dcos.thisdcos.directory`
  const netinfo = task.networks.flatMap((network) => network.addresses)
  const container = netinfo.length > 0 ? netinfo : [node]
  const published = task.portMappings.some(({ hostPort }) => hostPort > 0)
  host(at('agentip'), node)
  for (const address of container) host(at('containerip'), address)
  for (const address of published ? [node] : container) host(at('autoip'), address)
  for (const network of task.networks) {
    for (const address of network.addresses) {
      host(at(`${network.name}.containerip`), address)
      add(reversed(address), 'PTR', `${own}.${framework}.mesos.`)
    }
  }
}

/** Each part between dots a label, empty ones left out. */
function domainOf(text: string, options: ReferenceOptions): string {
  return text
    .split('.')
    .map((part) => labelOf(part, options))
    .filter((label) => label !== '')
    .join('.')
}

/** Character by character, as the page tells it; no label here ends in dashes where it is cut. */
function labelOf(text: string, { mostOctets, notFirst }: ReferenceOptions): string {
  let label = ''
  for (const char of text) {
    const lower = char >= 'A' && char <= 'Z' ? String.fromCharCode(char.charCodeAt(0) + 32) : char
    const mapped = '-._'.includes(char) ? '-' : lower
    if (!'abcdefghijklmnopqrstuvwxyz0123456789-'.includes(mapped)) continue
    if (label === '' && notFirst.includes(mapped)) continue
    label += mapped
  }
  label = label.slice(0, mostOctets)
  while (label.endsWith('-')) label = label.slice(0, -1)
  return label
}

/** Five characters of zbase32 are 25 bits. */
function hashOf(id: string): string {
  const bits = [...createHash('sha1').update(id).digest()].map((octet) => octet.toString(2).padStart(8, '0')).join('')
  const alphabet = 'ybndrfg8ejkmcpqxot1uwisza345h769'
  return [0, 5, 10, 15, 20].map((at) => alphabet[Number.parseInt(bits.slice(at, at + 5), 2)]).join('')
}

function reversed(address: string): string {
  if (!address.includes(':')) return `${address.split('.').reverse().join('.')}.in-addr.arpa`
  const [left = '', right = ''] = address.split('::')
  const [before, after] = [left.split(':').filter(Boolean), right.split(':').filter(Boolean)]
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  const groups = [...before, ...zeros, ...after].map((group) => group.padStart(4, '0'))
  return `${[...groups.join('')].reverse().join('.')}.ip6.arpa`
}
