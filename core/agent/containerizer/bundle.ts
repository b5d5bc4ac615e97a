import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type AgentPaths, type ContainerPaths, containerPaths } from '../paths.ts'
import { taskVolumes } from '../reservations.ts'
import { type ContainerRequest } from './containerizer.ts'
import { containerHostname, hostsText, resolvConfText } from './files.ts'
import { type FileMount, findUser, type HostView, ociSpec, sandboxMount } from './spec.ts'

/** What is the same for all containers of an agent, and this one's group. */
export interface BundleOptions {
  readonly paths: AgentPaths
  readonly host: HostView
  readonly cgroupPath: string
  readonly limits: 'cgroup' | 'none'
}

/** Writes the OCI bundle of a container, its network files and its sandbox. @throws ERR_AGENT_USER, ERR_AGENT_COMMAND */
export function writeBundle(options: BundleOptions, request: ContainerRequest): ContainerPaths {
  const { containerId, network, info } = request
  const own = containerPaths(options.paths, containerId)
  mkdirSync(own.root, { recursive: true, mode: 0o700 })
  mkdirSync(own.sandbox, { recursive: true, mode: 0o755 })
  const { uid, gid } = findUser(info.command.user, options.host.passwd)
  const volumes = taskVolumes(options.paths.volumes, info)
  for (const path of uid === 0 ? [] : [own.sandbox, ...volumes.map(({ source }) => source)]) chownSync(path, uid, gid)
  const name = network.kind === 'host' ? hostname() : containerHostname(containerId)
  const address = network.kind === 'host' ? undefined : network.addresses[0]
  const spec = ociSpec({
    ...options,
    ...request,
    rootfs: options.paths.rootfs,
    sandbox: own.sandbox,
    hostname: name,
    netns: network.kind === 'host' ? '/proc/self/ns/net' : network.netns,
    ...(address === undefined ? {} : { address }),
    files: writeNetworkFiles(own, name, network),
    volumes: volumes.map(({ source, containerPath }) => ({
      source,
      destination: resolve(sandboxMount, containerPath),
    })),
  })
  writeFileSync(own.spec, JSON.stringify(spec), { mode: 0o600 })
  return own
}

/** A container on the host's network keeps the host's files; where the host lacks one, nothing can be mounted over it. */
function writeNetworkFiles(
  own: ContainerPaths,
  name: string,
  network: ContainerRequest['network'],
): readonly FileMount[] {
  const files: FileMount[] = []
  const add = (destination: string, source: string, text: string) => {
    if (!existsSync(destination)) return
    writeFileSync(source, text, { mode: 0o644 })
    files.push({ source, destination })
  }
  if (network.kind === 'own') {
    add('/etc/hosts', own.hosts, hostsText(name, network.addresses))
    add('/etc/hostname', own.hostname, `${name}\n`)
  }
  const dns = network.dns
  if (dns !== undefined && dns.nameservers.length > 0) add('/etc/resolv.conf', own.resolvConf, resolvConfText(dns))
  return files
}
