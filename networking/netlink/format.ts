import { unreachable } from '../../core/base/errors.ts'
import { cidrParts } from '../../core/base/cidr.ts'
import { type Ip, ipFamily } from '../../core/base/ip.ts'
import {
  type AddressSpec,
  type FdbSpec,
  type LinkChange,
  type LinkSpec,
  type NeighbourSpec,
  type NexthopSpec,
  type RouteOp,
  type RouteSpec,
} from './ops.ts'

/** Words of a command; what is absent leaves no trace. */
type Words = readonly (string | number | undefined)[]

/** The op as an operator would type it, for logs, `--dry-run` and golden files. */
export function formatRouteOp(op: RouteOp): string {
  return words(op).join(' ')
}

function words(op: RouteOp): Words {
  switch (op.kind) {
    case 'link.add':
      return present('ip link add', ...linkWords(op.link))
    case 'link.set':
      return present('ip link set dev', op.name, ...changeWords(op.change))
    case 'link.del':
      return ['ip link del dev', op.name]
    case 'address.replace':
      return present('ip address replace', ...addressWords(op.address), ...nodad(op.address))
    case 'address.del':
      return present('ip address del', ...addressWords(op.address))
    case 'neighbour.replace':
      return [...neighbourWords('replace', op.neighbour), 'lladdr', op.neighbour.mac, 'nud permanent']
    case 'neighbour.del':
      return neighbourWords('del', op.neighbour)
    case 'fdb.replace':
      return [...fdbWords('replace', op.fdb), 'self permanent']
    case 'fdb.del':
      return [...fdbWords('del', op.fdb), 'self']
    case 'nexthop.replace':
      return present(nexthopCommand(op.nexthop), ...nexthopWords(op.nexthop))
    case 'nexthop.del':
      return ['ip nexthop del id', op.id]
    case 'route.replace':
      return present('ip route replace', ...routeWords(op.route))
    case 'route.del':
      return present('ip route del', ...routeWords(op.route))
    default:
      return unreachable(op)
  }
}

function present(...all: Words): Words {
  return all.filter((word) => word !== undefined)
}

/** A word with its value, when there is one. */
function given(word: string, value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : `${word} ${value}`
}

function linkWords(link: LinkSpec): Words {
  const common = [link.name, given('address', link.mac), given('mtu', link.mtuBytes), 'type', link.type]
  if (link.type === 'veth') {
    const { name, mac, mtuBytes, netnsFd } = link.peer
    const netns = netnsFd === undefined ? undefined : `/proc/self/fd/${netnsFd}`
    return [...common, 'peer name', name, given('address', mac), given('mtu', mtuBytes), given('netns', netns)]
  }
  if (link.type !== 'vxlan') return common
  const learning = link.learning ? 'learning' : 'nolearning'
  return [...common, 'id', link.vni, 'local', link.local, given('dev', link.device), 'dstport', link.udpPort, learning]
}

function changeWords({ name, mac, mtuBytes, masterIndex, group, state }: LinkChange): Words {
  const master =
    masterIndex === 0 ? 'nomaster' : given('master', masterIndex === undefined ? undefined : `if${masterIndex}`)
  return [given('name', name), given('address', mac), given('mtu', mtuBytes), master, given('group', group), state]
}

function addressWords({ address, prefixLength, device, scope }: AddressSpec): Words {
  return [`${address}/${prefixLength}`, 'dev', device, given('scope', scope)]
}

function nodad({ address }: AddressSpec): Words {
  return ipFamily(address) === 6 ? ['nodad'] : []
}

function neighbourWords(verb: string, { address, device }: NeighbourSpec): Words {
  return ['ip neighbour', verb, address, 'dev', device]
}

function fdbWords(verb: string, { mac, device, destination }: FdbSpec): Words {
  return ['bridge fdb', verb, mac, 'dev', device, 'dst', destination]
}

/** Without a gateway nothing else in the command tells IPv6. */
function nexthopCommand({ gateway, family }: NexthopSpec): string {
  return gateway === undefined && family === 6 ? 'ip -6 nexthop replace' : 'ip nexthop replace'
}

function nexthopWords({ id, gateway, device, onlink, protocol }: NexthopSpec): Words {
  return ['id', id, given('via', gateway), 'dev', device, onlink === true ? 'onlink' : undefined, 'protocol', protocol]
}

function routeFamily(route: RouteSpec): 4 | 6 {
  return ipFamily(route.destination)
}

function routeWords(route: RouteSpec): Words {
  const { address, length } = cidrParts(route.destination)
  return [
    route.type === 'unicast' ? undefined : route.type,
    `${address}/${length}`,
    given('nhid', route.nexthopId),
    viaWords(route.gateway, routeFamily(route)),
    given('dev', route.device),
    given('src', route.preferredSource),
    given('scope', route.scope),
    given('table', route.table),
    given('protocol', route.protocol),
    given('metric', route.metric),
    given('mtu', route.mtuBytes),
    route.onlink === true ? 'onlink' : undefined,
  ]
}

function viaWords(gateway: Ip | undefined, family: 4 | 6): string | undefined {
  if (gateway === undefined) return undefined
  return ipFamily(gateway) === family ? `via ${gateway}` : `via inet${ipFamily(gateway) === 6 ? '6' : ''} ${gateway}`
}
