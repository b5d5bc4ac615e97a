import { cidrContains } from '../../core/base/cidr.ts'
import { unreachable } from '../../core/base/errors.ts'
import { type Ip } from '../../core/base/ip.ts'
import { comparePolicies, type Policy, type Selector } from '../../core/model/policy.ts'
import { type ClusterSnapshot, type Network, type RunningTask } from '../../core/model/snapshot.ts'

/**
 * The first packet of a connection as a node forwards it: after a VIP's translation, so `destination` and `port` are a
 * backend's, and `source` is whoever sent it.
 */
export interface Flow {
  readonly source: Ip
  readonly destination: Ip
  /** `other`: anything without ports that is not ICMP. */
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'other'
  /** Of the destination; absent for ICMP and others. */
  readonly port?: number
  /** It came through a VIP or a host port. */
  readonly published?: true
}

/** Why it passes or not. Where no policy matches, the networks decide. */
export type JudgeReason =
  | { readonly kind: 'policy'; readonly policy: Policy }
  /** In one network, or with one end outside of every network, or with a node. */
  | { readonly kind: 'same-network' | 'outside' | 'node' }
  /** Between two networks. */
  | { readonly kind: 'other-network' }
  | { readonly kind: 'strict'; readonly network: Network['name'] }

/** Accepted or not, and what decided it. */
export interface Judgement {
  readonly verdict: 'accept' | 'drop'
  readonly reason: JudgeReason
}

/** What a judgement needs of a snapshot. */
export type JudgeView = Pick<ClusterSnapshot, 'networks' | 'nodes' | 'tasks' | 'policies'>

/**
 * What nodes do with a connection's first packet, by the meaning of the snapshot alone: the kernel's objects are compiled
 * another way (desired.ts), and test/kernel/isolation-judge.test.ts compares the two. What a container exchanges with its
 * own node is not forwarded, and so not judged: it passes.
 */
export function judge(snapshot: JudgeView, flow: Flow): Judgement {
  const ordered = [...snapshot.policies.values()].toSorted(comparePolicies)
  const policy = ordered.find((candidate) => matchesPolicy(snapshot, candidate, flow))
  if (policy !== undefined) {
    return { verdict: policy.action === 'allow' ? 'accept' : 'drop', reason: { kind: 'policy', policy } }
  }
  return judgeNetworks(snapshot, flow)
}

function judgeNetworks(snapshot: JudgeView, { source, destination, published }: Flow): Judgement {
  const [from, to] = [networkOf(snapshot, source), networkOf(snapshot, destination)]
  if (from !== undefined && to !== undefined && from !== to) {
    return { verdict: 'drop', reason: { kind: 'other-network' } }
  }
  if (isNode(snapshot, source) || isNode(snapshot, destination)) return { verdict: 'accept', reason: { kind: 'node' } }
  if (published && from === undefined && to?.isolated === 'strict') {
    // Who publishes a port of a strict network means others to reach it.
    return { verdict: 'accept', reason: { kind: 'outside' } }
  }
  const strict = [from, to].find((network) => network?.isolated === 'strict')
  if (strict !== undefined) return { verdict: 'drop', reason: { kind: 'strict', network: strict.name } }
  return { verdict: 'accept', reason: { kind: from !== undefined && from === to ? 'same-network' : 'outside' } }
}

/** The network whose prefixes hold the address. */
export function networkOf({ networks }: Pick<ClusterSnapshot, 'networks'>, address: Ip): Network | undefined {
  return [...networks.values()].find(({ subnets }) => subnets.some((subnet) => cidrContains(subnet, address)))
}

function isNode({ nodes }: JudgeView, address: Ip): boolean {
  return [...nodes.values()].some(({ underlay, vtep }) => underlay === address || vtep.addresses.includes(address))
}

/** Does the policy speak of this flow? */
function matchesPolicy(snapshot: JudgeView, policy: Policy, flow: Flow): boolean {
  const { from, to, protocol, ports, direction } = policy
  if (protocol !== 'any' && protocol !== flow.protocol) return false
  const { port } = flow
  if (ports.length > 0 && !ports.some(({ begin, end }) => port !== undefined && begin <= port && port <= end)) {
    return false
  }
  const { source, destination } = flow
  const selects = (selector: Selector, address: Ip) => selectsAddress(snapshot, selector, address)
  if (selects(from, source) && selects(to, destination)) return true
  return direction === 'both' && selects(to, source) && selects(from, destination)
}

function selectsAddress(snapshot: JudgeView, selector: Selector, address: Ip): boolean {
  switch (selector.kind) {
    case 'any':
      return true
    case 'network':
      return networkOf(snapshot, address)?.name === selector.network
    case 'cidr':
      return cidrContains(selector.cidr, address)
    case 'label':
    case 'task':
      return [...snapshot.tasks.values()].some(
        (task) => selectsTask(selector, task) && containerAddresses(task).includes(address),
      )
    default:
      return unreachable(selector)
  }
}

/** Does a label or task selector mean this task? */
export function selectsTask(selector: Extract<Selector, { kind: 'label' | 'task' }>, task: RunningTask): boolean {
  if (selector.kind === 'label') {
    const { labels } = task
    return labels !== undefined && Object.hasOwn(labels, selector.key) && labels[selector.key] === selector.value
  }
  if (task.id === selector.task || task.name === selector.task) return true
  return selector.task.startsWith('/') && appOf(task) === selector.task
}

/** Its addresses on virtual networks; what it has on its node's own is not its alone. */
export function containerAddresses({ networks }: RunningTask): readonly Ip[] {
  return networks.flatMap(({ name, addresses }) => (name === '' ? [] : addresses))
}

/** The built-in scheduler's ids are the app's path with "_" for "/", then "." and a part that tells instances apart. */
function appOf({ id }: RunningTask): string {
  return `/${id.slice(0, Math.max(id.lastIndexOf('.'), 0)).replaceAll('_', '/')}`
}
