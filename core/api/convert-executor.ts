import { type ExecutorInfo } from '../model/executor.ts'
import { parseExecutorId, parseNetworkName } from '../model/ids.ts'
import { type CommandInfo, type NetworkRequest } from '../model/task.ts'
import { decodeContainer, decodeFetch, encodeContainer, encodeFetch } from './convert-container.ts'
import { decodePortMappings, decodeResources, encodePortMappings, encodeResources } from './convert-resources.ts'
import {
  type CommandInfo as CommandInfoProto,
  type ExecutorInfo as ExecutorInfoProto,
  type NetworkRequest as NetworkRequestProto,
} from './gen/cluster.ts'
import { parsed, required } from './parse.ts'

/** The model's executor as it travels. */
export function encodeExecutor(info: ExecutorInfo): ExecutorInfoProto {
  const { id, kind, name, resources, command, container, fetch, networks, shutdownGraceMs, labels } = info
  return {
    id,
    custom: kind === 'custom',
    name,
    resources: encodeResources(resources),
    command: command === undefined ? undefined : encodeCommand(command),
    container: container === undefined ? undefined : encodeContainer(container),
    fetch: encodeFetch(fetch),
    networks: networks.map(encodeNetworkRequest),
    shutdownGraceMs,
    labels: { ...labels },
  }
}

/** @throws ERR_API_INVALID */
export function decodeExecutor(proto: ExecutorInfoProto, field: string): ExecutorInfo {
  const { id, custom, name, command, container, fetch, shutdownGraceMs, labels } = proto
  return {
    id: parsed(id, parseExecutorId, `${field}.id`),
    kind: custom ? 'custom' : 'default',
    name,
    resources: decodeResources(proto.resources, `${field}.resources`),
    ...(command === undefined ? {} : { command: decodeCommand(command, `${field}.command`) }),
    ...(container === undefined ? {} : { container: decodeContainer(container, `${field}.container`) }),
    ...(fetch.length === 0 ? {} : { fetch: decodeFetch(fetch) }),
    networks: proto.networks.map((request) => decodeNetworkRequest(request, `${field}.networks`)),
    shutdownGraceMs,
    labels,
  }
}

/** The model's command as it travels. */
export function encodeCommand({ shell, value, arguments: argv, env, secretEnv, user }: CommandInfo): CommandInfoProto {
  return { shell, value, arguments: [...argv], env: { ...env }, secretEnv: { ...secretEnv }, user: user ?? '' }
}

/** @throws ERR_API_INVALID */
export function decodeCommand(proto: CommandInfoProto | undefined, field: string): CommandInfo {
  const { user, secretEnv, ...command } = required(proto, field)
  const secrets = Object.keys(secretEnv).length === 0 ? {} : { secretEnv }
  return { ...command, ...secrets, ...(user === '' ? {} : { user }) }
}

/** The model's wish for a network as it travels. */
export function encodeNetworkRequest({ name, labels, portMappings }: NetworkRequest): NetworkRequestProto {
  return { name, labels: { ...labels }, portMappings: encodePortMappings(portMappings) }
}

/** @throws ERR_API_INVALID */
export function decodeNetworkRequest(
  { name, labels, portMappings }: NetworkRequestProto,
  field: string,
): NetworkRequest {
  return {
    name: parsed(name, parseNetworkName, `${field}.name`),
    labels,
    portMappings: decodePortMappings(portMappings, `${field}.port_mappings`),
  }
}
