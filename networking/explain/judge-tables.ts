import { type Ip } from '../../core/base/ip.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { formatVirtualServerKey, type RealServer, type VirtualServer } from '../../lb/dataplane.ts'
import { vipRoute } from '../../lb/routes.ts'
import { desiredServers } from '../../lb/vip/desired.ts'
import { desiredIsolation } from '../isolation/desired.ts'
import { type JudgeReason } from '../isolation/judge.ts'
import { isolationOwner } from '../isolation/names.ts'
import { formatRouteOp } from '../netlink/format.ts'
import { formatNftOp } from '../nft/ops.ts'
import { planNftTable } from '../nft/plan.ts'
import { nftTable } from '../protocol.ts'
import { type Finding, type NameReport } from './model.ts'
import { type Step } from './observe.ts'
import { type NodeState } from './reader.ts'

/** How many elements of one nft command are shown. */
const shownElements = 4

/** Is what keeps networks apart programmed as the snapshot says? The first difference is told as the command to type. */
export function judgeIsolation(snapshot: ClusterSnapshot, node: NodeName, { table }: NodeState): Finding {
  const where = { area: 'isolation', node } as const
  const [first, ...more] = planNftTable({ owner: isolationOwner, desired: desiredIsolation(snapshot), actual: table })
  if (first === undefined)
    return { ...where, holds: true, text: `nft table inet ${nftTable} has all rules of networks` }
  const fix = `nft ${formatNftOp(nftTable, first, { shown: shownElements })}`
  const others = more.length === 0 ? '' : ` and ${more.length} more`
  const what = table === undefined ? 'is missing' : 'differs from the snapshot in its rules of networks'
  return { ...where, holds: false, text: `nft table inet ${nftTable} ${what}: ${fix}${others}`, fix }
}

/** A virtual server to look at. */
export interface VipQuery {
  readonly snapshot: ClusterSnapshot
  readonly node: NodeName
  readonly server: Omit<VirtualServer, 'backends'>
}

/** Is the VIP this node's own, and is the virtual server there with the backends that it should have? */
export function judgeVip({ snapshot, node, server }: VipQuery, state: NodeState, step: Step): readonly Finding[] {
  const where = { area: 'vip', node } as const
  const key = formatVirtualServerKey(server)
  const same = (one: VirtualServer) => formatVirtualServerKey(one) === key
  const wanted = desiredServers(snapshot, node).find(same)
  if (wanted === undefined) return [{ ...where, holds: false, text: `no task is behind the VIP ${key}` }]
  const { way } = step
  if (way.kind === 'refused' || way.type !== 'local') {
    const fix = formatRouteOp({ kind: 'route.replace', route: vipRoute(server.address, snapshot.nodes.get(node)) })
    return [
      { ...where, holds: false, text: `the VIP ${server.address} is not local on the node: its route is missing`, fix },
    ]
  }
  const found = state.servers.find(same)
  if (found === undefined) return [{ ...where, holds: false, text: `virtual server ${key} is not programmed` }]
  // One that gets nothing new may also be absent: IPVS has none such over UDP.
  const lacking = wanted.backends.filter((backend) => backend.weight > 0 && !has(found.backends, backend))
  const surplus = found.backends.filter((backend) => !has(wanted.backends, backend))
  const list = (backends: readonly RealServer[]) => backends.map(formatBackend).join(', ')
  if (lacking.length > 0) return [{ ...where, holds: false, text: `virtual server ${key} lacks ${list(lacking)}` }]
  if (surplus.length > 0) return [{ ...where, holds: false, text: `virtual server ${key} still has ${list(surplus)}` }]
  if (!found.backends.some(({ weight }) => weight > 0)) {
    return [{ ...where, holds: false, text: `no backend of ${key} serves: none is healthy` }]
  }
  return [{ ...where, holds: true, text: `virtual server ${key}: ${list(found.backends)}` }]
}

function has(backends: readonly RealServer[], { address, port, weight }: RealServer): boolean {
  return backends.some((one) => one.address === address && one.port === port && one.weight > 0 === weight > 0)
}

function formatBackend({ address, port, weight }: RealServer): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port} weight ${weight}`
}

/** Does the node's server answer what the snapshot says? */
export function judgeName(node: NodeName, { name, records, served }: NameReport, failure?: string): Finding {
  const where = { area: 'names', node } as const
  if (failure !== undefined)
    return { ...where, holds: false, text: `the node's name server does not answer: ${failure}` }
  if (records.length === 0) return { ...where, holds: false, text: `nothing in the cluster has the name ${name}` }
  const wanted = new Set<Ip>(records.map(({ address }) => address))
  const missing = [...wanted].filter((address) => !served.includes(address))
  const surplus = served.filter((address) => !wanted.has(address))
  if (missing.length > 0)
    return { ...where, holds: false, text: `${name}: the server does not tell ${missing.join(', ')}` }
  if (surplus.length > 0)
    return { ...where, holds: false, text: `${name}: the server still tells ${surplus.join(', ')}` }
  return { ...where, holds: true, text: `${name} is ${served.join(', ')}` }
}

/** What decided, in words. */
export function formatReason(reason: JudgeReason): string {
  switch (reason.kind) {
    case 'policy':
      return `policy ${reason.policy.name} (${reason.policy.action})`
    case 'strict':
      return `network ${reason.network} is strict: nothing passes that no policy allows`
    case 'other-network':
      return 'networks are isolated from each other unless a policy allows'
    case 'same-network':
      return 'both are on one network'
    case 'node':
      return 'a node may exchange packets with containers'
    case 'outside':
      return 'one end is outside of every network'
  }
}
