import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot, type Network, type Node } from '../../core/model/snapshot.ts'
import { networkOf } from '../isolation/judge.ts'
import { type RouteAnswer } from '../netlink/lookup.ts'
import { type Neighbour } from '../netlink/ops.ts'
import { type Endpoint } from './model.ts'
import { type NodeReader, type SightedLink } from './reader.ts'

/** What a node's kernel says of one packet's way. */
export interface Step {
  readonly way: RouteAnswer
  /** The device that the way leads through, if it is there. */
  readonly link: SightedLink | undefined
}

/** All that was seen of one direction between two endpoints: what {@link judgeLeg} decides on. */
export interface LegObservation {
  readonly direction: 'there' | 'back'
  readonly source: Endpoint
  readonly destination: Endpoint
  readonly from: Node
  /** Absent: outside of the cluster. */
  readonly to: Node | undefined
  /** That of the destination. */
  readonly network: Network | undefined
  /** The sender's own interface, seen from its node; absent for a host. */
  readonly sender: Step | undefined
  readonly step: Step
  /** The entry of the gateway on the device. */
  readonly neighbour: Neighbour | undefined
  /** Entries of the receiving node's Ethernet address on the device. */
  readonly fdb: readonly Neighbour[]
  /** How the sending node reaches the other one's underlay address. */
  readonly underlay: Step | undefined
  /** The receiving node's device of the same network; undefined also where no VXLAN is used. */
  readonly arrival: SightedLink | undefined
  /** What the receiving node does with it; absent when both are on one node: `step` says it. */
  readonly delivery: Step | undefined
}

/** What observing works with. */
export interface ObserveContext {
  readonly snapshot: ClusterSnapshot
  readonly reader: (node: NodeName) => Promise<NodeReader>
  readonly signal: AbortSignal
}

/** Which way to look at. */
export interface LegQuery {
  readonly direction: LegObservation['direction']
  readonly source: Endpoint
  readonly destination: Endpoint
}

/** Looks at both nodes' kernels. @returns undefined when the source is not on a node of the cluster */
export async function observeLeg(context: ObserveContext, query: LegQuery): Promise<LegObservation | undefined> {
  const { snapshot, reader } = context
  const { source, destination } = query
  const from = source.node === undefined ? undefined : snapshot.nodes.get(source.node)
  if (from === undefined) return undefined
  const to = destination.node === undefined ? undefined : snapshot.nodes.get(destination.node)
  const here = await reader(from.name)
  const sender = source.kind === 'container' ? await look(context, here, { destination: source.address }) : undefined
  const entry = sender?.link === undefined ? {} : { source: source.address, inputDevice: sender.link.name }
  const sending = source.kind === 'container' ? entry : { source: source.address }
  const step = await look(context, here, { destination: destination.address, ...sending })
  const common = { ...query, from, to, network: networkOf(snapshot, destination.address), sender, step }
  if (to === undefined || to.name === from.name) return { ...common, ...nothingBetween }
  return { ...common, ...(await observeBetween(context, common, { here, to })) }
}

const nothingBetween = { neighbour: undefined, fdb: [], underlay: undefined, arrival: undefined, delivery: undefined }

async function observeBetween(
  context: ObserveContext,
  { step, source, destination }: Pick<LegObservation, 'step' | 'source' | 'destination'>,
  { here, to }: { readonly here: NodeReader; readonly to: Node },
): Promise<Pick<LegObservation, keyof typeof nothingBetween>> {
  const { signal } = context
  const { neighbours, fdb } = await here.state({ signal })
  const { way, link } = step
  const gateway = way.kind === 'way' ? (way.gateway ?? destination.address) : undefined
  const onDevice = (entry: Neighbour) => link !== undefined && entry.device === link.name
  const there = await context.reader(to.name)
  const { links } = await there.state({ signal })
  const arrival =
    link?.vxlan === undefined ? undefined : [...links.values()].find(({ vxlan }) => vxlan?.vni === link.vxlan?.vni)
  const input = arrival === undefined ? {} : { source: source.address, inputDevice: arrival.name }
  return {
    neighbour: neighbours.find((entry) => onDevice(entry) && entry.address === gateway),
    fdb: fdb.filter((entry) => onDevice(entry) && entry.mac === to.vtep.mac && entry.destination !== undefined),
    underlay: await look(context, here, { destination: to.underlay }),
    arrival,
    delivery: await look(context, there, { destination: destination.address, ...input }),
  }
}

/** Asks for a way and finds its device. */
export async function look(
  { signal }: Pick<ObserveContext, 'signal'>,
  reader: NodeReader,
  query: { readonly destination: Ip; readonly source?: Ip; readonly inputDevice?: string },
): Promise<Step> {
  const way = await reader.lookup(query)
  const { links } = await reader.state({ signal })
  return { way, link: way.kind === 'way' && way.device !== undefined ? links.get(way.device) : undefined }
}
