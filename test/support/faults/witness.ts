import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { listContainers } from '../../../core/agent/exec.ts'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { runAt } from '../../../core/cli/up/checks.ts'
import { type HostLayout } from '../../../core/cli/up/layout.ts'

/** A container of 32 random bits behind the task's id. */
const taskOf = (containerId: string) => containerId.slice(0, -9)

const agentsOf = ({ layout }: LocalCluster) => layout.hosts.filter(({ kind }) => kind === 'agent')

const names = (folder: string) => (existsSync(folder) ? readdirSync(folder) : [])

/** What looks all the time, so that nothing wrong is over before somebody looks. */
export interface Witness {
  /** What it saw that must not be. */
  readonly wrong: ReadonlySet<string>
  stop(): void
}

/** Watches the disks of the agents every 50 ms: containers by task, containers of the service, terms that were heard. */
export function startWitness(cluster: LocalCluster, service: { readonly prefix: string; readonly most: number }) {
  const wrong = new Set<string>()
  const terms = new Map<string, number>()
  const look = () => {
    const all = agentsOf(cluster).flatMap((host) => names(join(host.directory, 'agent', 'containers')))
    const tasks = all.map(taskOf)
    for (const id of new Set(tasks))
      if (tasks.filter((each) => each === id).length > 1) wrong.add(`${id} is there twice`)
    const serving = tasks.filter((id) => id.startsWith(service.prefix)).length
    if (serving > service.most) wrong.add(`${serving} containers of ${service.prefix}`)
    for (const host of agentsOf(cluster)) {
      const term = heardTerm(host)
      const before = terms.get(host.name) ?? 0
      if (term < before) wrong.add(`${host.name} went back from term ${before} to ${term}`)
      terms.set(host.name, Math.max(term, before))
    }
  }
  const timer = setInterval(look, 50)
  const witness: Witness = { wrong, stop: () => clearInterval(timer) }
  return witness
}

/** The highest term that an agent's disk knows. */
export function heardTerm({ directory }: HostLayout): number {
  try {
    return Number(JSON.parse(readFileSync(join(directory, 'agent', 'agent.json'), 'utf8')).highestTerm)
  } catch {
    return 0 // not there yet
  }
}

/** One term of office, as its master's log tells. */
export interface Term {
  readonly term: number
  readonly master: string
  readonly servedAt: string
}

/** All terms that were ever served, in the order of time. */
export function servedTerms(cluster: LocalCluster): readonly Term[] {
  const masters = cluster.layout.hosts.filter(({ kind }) => kind === 'master')
  const all = masters.flatMap(({ name, directory }) =>
    logLines(join(directory, 'master.log'), 'master serving').map(({ term, time }) => ({
      term: Number(term),
      master: name,
      servedAt: String(time),
    })),
  )
  return all.toSorted((a, b) => a.servedAt.localeCompare(b.servedAt))
}

/** The terms of the leaders that each agent obeyed, in its order. */
export function obeyedTerms(cluster: LocalCluster): ReadonlyMap<string, readonly number[]> {
  const terms = ({ directory }: HostLayout) =>
    logLines(join(directory, 'agent.log'), 'registered with the master').map(({ term }) => Number(term))
  return new Map(agentsOf(cluster).map((host) => [host.name, terms(host)]))
}

function logLines(file: string, message: string): readonly Record<string, unknown>[] {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
  return lines.filter((line) => line.includes(`"${message}"`)).map((line) => JSON.parse(line))
}

/** What is on the agents of tasks that are not in `running`, or is not there of those that are. Empty when all is well. */
export async function orphans(cluster: LocalCluster, running: readonly string[]): Promise<readonly string[]> {
  const wanted = running.toSorted()
  const facts = await Promise.all(agentsOf(cluster).map((host) => factsOf(cluster, host)))
  const kinds = ['containers', 'namespaces', 'supervisors', 'leases'] as const
  const differences = kinds.map((kind) => {
    const there = facts.flatMap((fact) => fact[kind].map(taskOf)).toSorted()
    return there.join() === wanted.join() ? '' : `${kind}: ${there.join(' ')} instead of ${wanted.join(' ')}`
  })
  const links = facts.reduce((sum, fact) => sum + fact.links, 0)
  const linked = links === wanted.length ? '' : `${links} links of containers instead of ${wanted.length}`
  const ended = facts.flatMap(({ ended }) => ended.map((id) => `${id} has ended and is not forgotten`))
  return [...differences, linked, ...ended].filter((text) => text !== '')
}

async function factsOf(cluster: LocalCluster, host: HostLayout) {
  const stateDir = join(host.directory, 'agent')
  const containers = await listContainers(stateDir)
  const links = await runAt(cluster.layout, host.name, ['ip', '-o', 'link', 'show', 'type', 'veth'])
  const supervisors = names(join(stateDir, 'events')).filter((name) => name.endsWith('.running'))
  return {
    containers: containers.map(({ containerId }) => containerId),
    ended: containers.filter(({ state }) => state !== 'TASK_RUNNING').map(({ containerId }) => containerId),
    namespaces: names(join(stateDir, 'netns')),
    supervisors: supervisors.map((name) => name.slice(0, -'.running'.length)),
    leases: heldLeases(join(host.directory, 'net', 'leases')),
    links: links.split('\n').filter((line) => / wfc/.test(line)).length,
  }
}

/** Containers that have addresses, by the node daemon's journal. */
function heldLeases(file: string): readonly string[] {
  const held = new Map<string, string>()
  for (const line of existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []) {
    const { op, lease, key } = JSON.parse(line)
    const { network, container, ifname } = lease ?? key ?? {}
    if (op === 'lease') held.set(`${network} ${container} ${ifname}`, String(container))
    if (op === 'free') held.delete(`${network} ${container} ${ifname}`)
  }
  return [...held.values()]
}
