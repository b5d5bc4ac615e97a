import { errorMessage } from '../../../base/errors.ts'
import { type ContainerInfo, type Image, type VolumeMount } from '../../../model/container.ts'
import { parseNetworkName } from '../../../model/ids.ts'
import { type NetworkRequest, type PortMapping } from '../../../model/task.ts'
import { parseLabels } from '../../../api/mesos/parse-labels.ts'
import { refuseFields, unsupported } from '../../../api/mesos/problem.ts'
import { type containerWire, type Wire } from '../../../api/mesos/wire.ts'

type ContainerWire = Wire<typeof containerWire>
type DockerWire = NonNullable<ContainerWire['docker']>
type VolumeWire = ContainerWire['volumes'][number]

/** What ContainerInfo says: how the container is made, and its networks. */
export interface ParsedContainer {
  /** Absent: as without ContainerInfo. */
  readonly container?: ContainerInfo
  readonly networks: readonly NetworkRequest[]
}

/** @throws ERR_SCHEDULER_UNSUPPORTED with the path of the field below `path` */
export function parseContainer(wire: ContainerWire | undefined, path: string): ParsedContainer {
  if (wire === undefined) return { networks: [] }
  refuseFields(wire, path, ['hostname', 'linux_info', 'rlimit_info', 'tty_info'])
  const volumes = wire.volumes.map((volume, index) => parseVolume(volume, `${path}.volumes[${index}]`))
  const networks = parseNetworks(wire, path)
  if (wire.type === 'DOCKER') return { container: dockerContainer(wire.docker, volumes, path), networks }
  const image = mesosImage(wire, path)
  if (image === undefined && volumes.length === 0) return { networks }
  return { container: { type: 'mesos', volumes, ...(image && { image }) }, networks }
}

function mesosImage({ mesos }: ContainerWire, path: string): Image | undefined {
  const { image } = mesos ?? {}
  if (image === undefined) return undefined
  const at = `${path}.mesos.image`
  if (image.docker === undefined) throw unsupported(`${at}.type`, 'only images of type DOCKER are supported')
  refuseFields(image.docker, `${at}.docker`, ['credential', 'config'])
  return { kind: 'oci', reference: image.docker.name, forcePull: !image.cached }
}

function dockerContainer(docker: DockerWire | undefined, volumes: readonly VolumeMount[], path: string): ContainerInfo {
  const at = `${path}.docker`
  if (docker === undefined) throw unsupported(at, 'a container of type DOCKER needs it')
  refuseFields(docker, at, ['parameters', 'volume_driver'])
  const image: Image = { kind: 'oci', reference: docker.image, forcePull: docker.force_pull_image }
  return { type: 'docker', image, volumes, ...(docker.privileged ? { privileged: true } : {}) }
}

/** Named networks only: a NetworkInfo without a name, and no NetworkInfo, both mean the host's network. */
function parseNetworks(wire: ContainerWire, path: string): readonly NetworkRequest[] {
  const { docker } = wire
  const isDocker = wire.type === 'DOCKER'
  const mode = docker?.network ?? 'HOST'
  if (isDocker && (mode === 'BRIDGE' || mode === 'NONE')) {
    throw unsupported(`${path}.docker.network`, `${mode}: use HOST, or USER with a named network`)
  }
  if (isDocker && mode === 'HOST') return []
  const requests = wire.network_infos.flatMap((info, index) => {
    const at = `${path}.network_infos[${index}]`
    refuseFields(info, at, ['groups'])
    const asked = info.ip_addresses.findIndex(({ ip_address: address }) => address !== undefined)
    if (asked >= 0) throw unsupported(`${at}.ip_addresses[${asked}].ip_address`, 'addresses are given, not asked for')
    if (info.name === undefined || info.name === '') {
      if (info.port_mappings.length > 0) throw unsupported(`${at}.port_mappings`, 'they need the name of a network')
      return []
    }
    const portMappings = parsePortMappings(info.port_mappings, `${at}.port_mappings`)
    return [{ name: networkName(info.name, `${at}.name`), labels: parseLabels(info.labels), portMappings }]
  })
  const [first, ...others] = requests
  if (!isDocker || docker === undefined || docker.port_mappings.length === 0) return requests
  if (first === undefined) throw unsupported(`${path}.network_infos`, 'network USER needs a named network')
  const more = parsePortMappings(docker.port_mappings, `${path}.docker.port_mappings`)
  return [{ ...first, portMappings: [...first.portMappings, ...more] }, ...others]
}

function networkName(text: string, path: string) {
  try {
    return parseNetworkName(text)
  } catch (error) {
    throw unsupported(path, errorMessage(error)) // ERR_MODEL_ID: the network can't exist
  }
}

type MappingsWire = DockerWire['port_mappings']

function parsePortMappings(wire: MappingsWire, path: string): readonly PortMapping[] {
  return wire.map(({ host_port: hostPort, container_port: containerPort, protocol }, index) => {
    const name = protocol.toLowerCase()
    if (name !== 'tcp' && name !== 'udp') throw unsupported(`${path}[${index}].protocol`, 'tcp and udp are possible')
    return { hostPort, containerPort, protocol: name }
  })
}

function parseVolume(wire: VolumeWire, path: string): VolumeMount {
  refuseFields(wire, path, ['image'])
  const mode = wire.mode === 'RO' ? 'ro' : 'rw'
  return { containerPath: wire.container_path, mode, source: volumeSource(wire, path) }
}

function volumeSource({ host_path: hostPath, source }: VolumeWire, path: string): VolumeMount['source'] {
  if (hostPath !== undefined && source === undefined) {
    if (hostPath.startsWith('/')) return { kind: 'host', path: hostPath }
    throw unsupported(`${path}.host_path`, 'a path within the sandbox: give an absolute path, or source SANDBOX_PATH')
  }
  if (source?.host_path !== undefined) return { kind: 'host', path: source.host_path.path }
  const { sandbox_path: sandbox, secret } = source ?? {}
  if (sandbox?.type === 'PARENT') return { kind: 'shared', path: sandbox.path }
  if (secret?.value !== undefined) {
    return { kind: 'secret', value: Buffer.from(secret.value.data, 'base64').toString('utf8') }
  }
  throw unsupported(`${path}.source`, 'host paths, paths in the parent sandbox and secrets by value are possible')
}
