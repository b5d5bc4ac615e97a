import { parsePolicyName, formatSelector, type Policy, parseSelector } from '../model/policy.ts'
import { decodePortRanges, encodePortRanges } from './convert-resources.ts'
import { type Policy as PolicyProto } from './gen/cluster.ts'
import { oneOf, parsed } from './parse.ts'

/** A policy as it travels. */
export function encodePolicy({ action, from, to, ports, direction, ...rest }: Policy): PolicyProto {
  return {
    ...rest,
    deny: action === 'deny',
    from: formatSelector(from),
    to: formatSelector(to),
    ports: encodePortRanges(ports),
    both: direction === 'both',
  }
}

/** @throws ERR_API_INVALID */
export function decodePolicy(proto: PolicyProto): Policy {
  return {
    name: parsed(proto.name, parsePolicyName, 'policy.name'),
    priority: proto.priority,
    action: proto.deny ? 'deny' : 'allow',
    from: parsed(proto.from, parseSelector, 'policy.from'),
    to: parsed(proto.to, parseSelector, 'policy.to'),
    protocol: oneOf(proto.protocol, ['any', 'tcp', 'udp', 'icmp'], 'policy.protocol'),
    ports: decodePortRanges(proto.ports, 'policy.ports'),
    direction: proto.both ? 'both' : 'forward',
  }
}
