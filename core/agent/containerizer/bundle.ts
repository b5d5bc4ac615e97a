import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type AgentPaths, type ContainerPaths, containerPaths } from '../paths.ts'
import { type ContainerRequest } from './containerizer.ts'
import { containerHostname, hostsText, resolvConfText } from './files.ts'
import { type Provisioned } from './provision.ts'
import { type FileMount, type HostView, ociSpec } from './spec.ts'
import { type HostVolumeRoot, prepareVolumes } from './volumes.ts'

/** What is the same for all containers of an agent, and this one's group. */
export interface BundleOptions {
  readonly paths: AgentPaths
  readonly host: HostView
  readonly hostVolumes: readonly HostVolumeRoot[]
  readonly cgroupPath: string
  readonly limits: 'cgroup' | 'none'
}

/** Writes the OCI bundle of a container and its network files. @throws ERR_AGENT_VOLUME, ERR_AGENT_COMMAND */
export function writeBundle(
  options: BundleOptions,
  request: ContainerRequest,
  { user, image }: Provisioned,
): ContainerPaths {
  const { containerId, network } = request
  const own = containerPaths(options.paths, containerId)
  mkdirSync(own.root, { recursive: true, mode: 0o700 })
  const name = network.kind === 'host' ? hostname() : containerHostname(containerId)
  const address = network.kind === 'host' ? undefined : network.addresses[0]
  const { hidden } = options.host
  const spec = ociSpec({
    ...options,
    ...request,
    user,
    ...(image === undefined ? {} : { image: image.view }),
    rootfs: image === undefined ? options.paths.rootfs : own.rootfs,
    sandbox: own.sandbox,
    hostname: name,
    netns: network.kind === 'host' ? '/proc/self/ns/net' : network.netns,
    ...(address === undefined ? {} : { address }),
    files: image === undefined ? writeNetworkFiles(own, name, network) : writeImageFiles(own, name, network),
    volumes: [...prepareVolumes({ ...options, hidden }, request, user), ...(request.extra?.binds ?? [])],
  })
  writeFileSync(own.spec, JSON.stringify(spec), { mode: 0o600 })
  if (image !== undefined) writeRootfs(own, image.ready.rootfs)
  return own
}

/** What `rootfsScript` needs. The root itself is what the container's processes see as `/`: they must be able to enter. */
function writeRootfs(own: ContainerPaths, lower: string): void {
  for (const dir of [own.rootfs, own.upper]) mkdirSync(dir, { mode: 0o755 })
  mkdirSync(join(own.root, 'work'), { mode: 0o700 })
  rmSync(join(own.root, 'lower'), { force: true })
  symlinkSync(lower, join(own.root, 'lower'))
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

/** An image's files say nothing of this cluster: each is given, on the host's network as the host has it. */
export function writeImageFiles(
  own: ContainerPaths,
  name: string,
  network: ContainerRequest['network'],
): readonly FileMount[] {
  const { dns } = network
  const hosts = network.kind === 'own' ? hostsText(name, network.addresses) : readIfThere('/etc/hosts')
  const hasServers = dns !== undefined && dns.nameservers.length > 0
  const resolvConf = hasServers ? resolvConfText(dns) : network.kind === 'host' ? readIfThere('/etc/resolv.conf') : ''
  const texts = [
    { source: own.hosts, destination: '/etc/hosts', text: hosts },
    { source: own.hostname, destination: '/etc/hostname', text: `${name}\n` },
    { source: own.resolvConf, destination: '/etc/resolv.conf', text: resolvConf },
  ]
  for (const { source, text } of texts) writeFileSync(source, text, { mode: 0o644 })
  return texts.map(({ source, destination }) => ({ source, destination }))
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
