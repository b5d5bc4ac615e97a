import { type PortRange, type Resources, normalizePorts } from '../model/resources.ts'
import { type DiscoveryInfo, type NetworkInfo, type PortMapping } from '../model/task.ts'
import {
  type DiscoveryInfo as DiscoveryInfoProto,
  type NetworkInfo as NetworkInfoProto,
  type PortMapping as PortMappingProto,
  type PortRange as PortRangeProto,
  type Resources as ResourcesProto,
} from './gen/cluster.ts'
import { addresses, invalid, oneOf, portNumber, required } from './parse.ts'

const protocols = ['tcp', 'udp'] as const

/** The model's resources as they travel. */
export function encodeResources({ cpuMillis, memMb, diskMb, ports }: Resources): ResourcesProto {
  return { cpuMillis, memMb, diskMb, ports: encodePortRanges(ports) }
}

/** @throws ERR_API_INVALID */
export function decodeResources(proto: ResourcesProto | undefined, field: string): Resources {
  const { cpuMillis, memMb, diskMb, ports } = required(proto, field)
  return { cpuMillis, memMb, diskMb, ports: decodePortRanges(ports, `${field}.ports`) }
}

/** Copies: a generated type has mutable arrays. */
export function encodePortRanges(ranges: readonly PortRange[]): PortRangeProto[] {
  return ranges.map(({ begin, end }) => ({ begin, end }))
}

/** Sorted and merged, whatever the sender's order was. @throws ERR_API_INVALID */
export function decodePortRanges(ranges: readonly PortRangeProto[], field: string): readonly PortRange[] {
  for (const { begin, end } of ranges) {
    if (begin > end) throw invalid(field, `${begin}-${end} ends before it begins`)
    portNumber(end, field)
  }
  return normalizePorts(ranges)
}

/** The model's port mappings as they travel. */
export function encodePortMappings(mappings: readonly PortMapping[]): PortMappingProto[] {
  return mappings.map(({ hostPort, containerPort, protocol }) => ({ hostPort, containerPort, protocol }))
}

/** @throws ERR_API_INVALID */
export function decodePortMappings(mappings: readonly PortMappingProto[], field: string): readonly PortMapping[] {
  return mappings.map(({ hostPort, containerPort, protocol }) => ({
    hostPort: portNumber(hostPort, field),
    containerPort: portNumber(containerPort, field),
    protocol: oneOf(protocol, protocols, field),
  }))
}

/** The model's network infos as they travel. */
export function encodeNetworkInfos(infos: readonly NetworkInfo[]): NetworkInfoProto[] {
  return infos.map(({ name, addresses }) => ({ name, addresses: [...addresses] }))
}

/** @throws ERR_API_INVALID */
export function decodeNetworkInfos(infos: readonly NetworkInfoProto[], field: string): readonly NetworkInfo[] {
  return infos.map((info) => ({ name: info.name, addresses: addresses(info.addresses, `${field}.addresses`) }))
}

/** The model's discovery info as it travels. */
export function encodeDiscovery(info: DiscoveryInfo): DiscoveryInfoProto {
  const ports = info.ports.map(({ number, name, protocols, labels }) => ({
    number,
    name: name ?? '',
    protocols: [...protocols],
    labels: { ...labels },
  }))
  return { name: info.name, visibility: info.visibility, ports }
}

/** @throws ERR_API_INVALID */
export function decodeDiscovery(proto: DiscoveryInfoProto, field: string): DiscoveryInfo {
  const ports = proto.ports.map((port) => ({
    number: portNumber(port.number, `${field}.ports`),
    ...(port.name === '' ? {} : { name: port.name }),
    protocols: port.protocols.map((protocol) => oneOf(protocol, protocols, `${field}.ports.protocols`)),
    labels: port.labels,
  }))
  const visibility = oneOf(proto.visibility, ['FRAMEWORK', 'CLUSTER', 'EXTERNAL'], `${field}.visibility`)
  return { name: proto.name, visibility, ports }
}
