import { AppError } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type Protocol } from '../../core/model/task.ts'
import { type VirtualServer } from '../../lb/dataplane.ts'
import { desiredServers } from '../../lb/vip/desired.ts'
import { judge, networkOf } from '../isolation/judge.ts'
import { endpointOf, namedEndpoints, parseAddress, parseTarget, sourceFor, type Target } from './endpoints.ts'
import { judgeLeg } from './judge-path.ts'
import { formatReason, judgeIsolation, judgeVip } from './judge-tables.ts'
import { type Endpoint, type Explanation, type Finding, type PathReport, type VipReport } from './model.ts'
import { observeName } from './names.ts'
import { look, observeLeg, type ObserveContext } from './observe.ts'
import { type NodeReader, type OpenReader } from './reader.ts'

/** What to explain, as it was asked. */
export interface ExplainQuery {
  readonly from: string
  readonly to: string
}

/** Where explaining gets its knowledge from. */
export interface ExplainDeps {
  readonly snapshot: ClusterSnapshot
  /** Opens a node's reader; called once for each node. */
  readonly open: OpenReader
}

/** More paths than these are not followed: a name or VIP with more backends is told with the first ones. */
const maxPaths = 16

/**
 * Follows a connection from `from` (a task, host or address) to `to` (a task, host, name, VIP or address, with port and
 * protocol) through the kernels of both nodes, there and back, and names the first thing that is wrong.
 * @throws ERR_EXPLAIN_SOURCE, ERR_EXPLAIN_TARGET, ERR_EXPLAIN_AMBIGUOUS, ERR_EXPLAIN_NODE; what the readers throw
 */
export async function explain(
  query: ExplainQuery,
  { snapshot, open }: ExplainDeps,
  { signal }: { readonly signal: AbortSignal },
): Promise<Explanation> {
  const readers = new Map<NodeName, Promise<NodeReader>>()
  const reader = (node: NodeName) => {
    const found = readers.get(node) ?? open(node)
    readers.set(node, found)
    return found
  }
  try {
    const target = parseTarget(query.to)
    const { sources, node } = findSources(snapshot, query.from)
    return await follow({ snapshot, reader, signal }, { query, target, sources, node })
  } finally {
    const opened = await Promise.allSettled(readers.values())
    for (const one of opened) if (one.status === 'fulfilled') one.value.close()
  }
}

function findSources(snapshot: ClusterSnapshot, text: string) {
  const address = parseAddress(text)
  const sources = address === undefined ? namedEndpoints(snapshot, text) : [endpointOf(snapshot, address)]
  const node = sources[0]?.node
  if (node !== undefined) return { sources, node }
  const advice = 'give a running task (weft task list), a host (weft node list) or an address of one of them'
  throw new AppError('ERR_EXPLAIN_SOURCE', `"${text}" is nothing in the cluster that could send: ${advice}`)
}

interface Journey {
  readonly query: ExplainQuery
  readonly target: Target
  readonly sources: readonly Endpoint[]
  readonly node: NodeName
}

async function follow(context: ObserveContext, journey: Journey): Promise<Explanation> {
  const { snapshot } = context
  const found = await findAddresses(context, journey)
  const findings: Finding[] = [...found.findings]
  const vips: VipReport[] = []
  const hops: Hop[] = []
  for (const address of found.addresses) {
    const source = await sourceOf(context, journey, address)
    if (source === undefined) continue
    const seen = await throughVip(context, journey, { address, source })
    findings.push(...seen.findings)
    vips.push(...seen.vips)
    hops.push(...seen.hops)
  }
  if (found.addresses.length > 0 && hops.length === 0 && findings.every(({ holds }) => holds)) {
    const text = `${journey.query.from} has no address of the IP version of ${found.addresses.join(', ')}`
    findings.push({ area: 'sender', node: journey.node, holds: false, text })
  }
  const paths: PathReport[] = []
  for (const hop of hops.slice(0, maxPaths)) paths.push(await followPath(context, hop))
  const problem = [...findings, ...paths.flatMap((path) => path.findings)].find(({ holds }) => !holds)
  return {
    ...{ version: snapshot.version, from: journey.query.from, to: journey.query.to, vips, findings, paths },
    ...(found.name === undefined ? {} : { name: found.name }),
    ...(problem === undefined ? {} : { problem }),
  }
}

async function findAddresses(context: ObserveContext, { target, node }: Journey) {
  const literal = parseAddress(target.host)
  if (literal !== undefined) return { addresses: [literal], findings: [] }
  const named = namedEndpoints(context.snapshot, target.host)
  const reachable = named.filter(({ kind }, index) => kind === 'container' || index === 0)
  if (reachable.length > 0) return { addresses: reachable.map(({ address }) => address), findings: [] }
  const reader = await context.reader(node)
  const { report, finding } = await observeName(context.snapshot, reader, { name: target.host, signal: context.signal })
  // A server that does not answer must not hide what else is wrong.
  const addresses = report.served.length > 0 ? report.served : report.records.map(({ address }) => address)
  return { name: report, addresses, findings: [finding] }
}

/** A host's source is what its kernel chooses for the destination. */
async function sourceOf(
  context: ObserveContext,
  { sources, node }: Journey,
  address: Ip,
): Promise<Endpoint | undefined> {
  const { snapshot } = context
  const fitting = sourceFor(sources, address, networkOf(snapshot, address))
  if (fitting?.kind !== 'host' || sources.length === 1) return fitting
  const { way } = await look(context, await context.reader(node), { destination: address })
  const chosen = way.kind === 'way' ? way.preferredSource : undefined
  return chosen === undefined ? fitting : { ...fitting, address: chosen }
}

/** One connection to follow, after a VIP's translation. */
interface Hop {
  readonly source: Endpoint
  readonly destination: Endpoint
  readonly port?: number
  readonly protocol: Protocol
}

interface Through {
  readonly address: Ip
  readonly source: Endpoint
}

async function throughVip(context: ObserveContext, { target, node }: Journey, { address, source }: Through) {
  const { snapshot, signal } = context
  const { port, protocol } = target
  const all = desiredServers(snapshot, node).filter((server) => server.address === address)
  const isVip = all.length > 0 || [...snapshot.vips.values()].some((vip) => vip.addresses.includes(address))
  if (!isVip) {
    const hop: Hop = {
      source,
      destination: endpointOf(snapshot, address),
      protocol,
      ...(port === undefined ? {} : { port }),
    }
    return { findings: [], vips: [], hops: [hop] }
  }
  const asked = port === undefined ? all : all.filter((server) => server.port === port && server.protocol === protocol)
  const servers = asked.length > 0 ? asked : [{ address, port: port ?? 0, protocol, backends: [] }]
  const reader = await context.reader(node)
  const state = await reader.state({ signal })
  const step = await look(context, reader, { destination: address })
  const findings = servers.flatMap((server) => judgeVip({ snapshot, node, server }, state, step))
  const programmed = servers.map((server) => state.servers.find((one) => isSame(one, server)) ?? server)
  const hops = programmed.flatMap((server) =>
    server.backends
      .filter(({ weight }) => weight > 0)
      .map((backend): Hop => {
        return {
          source,
          destination: endpointOf(snapshot, backend.address),
          port: backend.port,
          protocol: server.protocol,
        }
      }),
  )
  return { findings, vips: programmed.map((server) => vipReport(snapshot, server)), hops }
}

function isSame(a: Omit<VirtualServer, 'backends'>, b: Omit<VirtualServer, 'backends'>): boolean {
  return a.address === b.address && a.port === b.port && a.protocol === b.protocol
}

function vipReport(snapshot: ClusterSnapshot, { address, port, protocol, backends }: VirtualServer): VipReport {
  const shown = backends.map(({ local: _, ...backend }) => {
    const { address: at, port: on, weight } = backend
    return { address: at, port: on, weight, task: endpointOf(snapshot, at).name }
  })
  return { address, port, protocol, backends: shown }
}

async function followPath(context: ObserveContext, hop: Hop): Promise<PathReport> {
  const { snapshot, signal } = context
  const { source, destination, port, protocol } = hop
  const flow = {
    source: source.address,
    destination: destination.address,
    protocol,
    ...(port === undefined ? {} : { port }),
  }
  const { verdict, reason } = judge(snapshot, flow)
  const rule = formatReason(reason)
  const findings: Finding[] = []
  if (source.node !== undefined) {
    const text = `${verdict}: ${rule}`
    findings.push({ area: 'policy', node: source.node, holds: verdict === 'accept', text })
  }
  const nodes = new Set([source.node, destination.node].filter((node) => node !== undefined))
  for (const node of nodes) {
    const state = await (await context.reader(node)).state({ signal })
    findings.push(judgeIsolation(snapshot, node, state))
  }
  const there = await observeLeg(context, { direction: 'there', source, destination })
  const back = await observeLeg(context, { direction: 'back', source: destination, destination: source })
  for (const leg of [there, back]) if (leg !== undefined) findings.push(...judgeLeg(leg))
  return { source, destination, protocol, verdict, rule, findings, ...(port === undefined ? {} : { port }) }
}
