import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgroupParent, openCgroups } from '../../core/agent/containerizer/cgroup.ts'
import { chooseRuntime } from '../../core/agent/containerizer/choose.ts'
import { type ContainerExit, type Containerizer } from '../../core/agent/containerizer/containerizer.ts'
import { prepareHostView } from '../../core/agent/containerizer/host-view.ts'
import { openOciContainerizer } from '../../core/agent/containerizer/oci.ts'
import { openProvisions, type ProvisionFlags } from '../../core/agent/containerizer/open-provisions.ts'
import { type AgentPaths, agentPaths } from '../../core/agent/paths.ts'
import { removeEverything } from '../../core/agent/sweep.ts'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { insideNetns } from '../../networking/netns.ts'
import { canMakeHosts } from './hosts.ts'

const programs = ['/usr/bin/busybox', '/usr/bin/skopeo', '/usr/bin/umoci']

/** Where images can be made and run. */
export const canUseImages: string | false =
  canMakeHosts === false && !programs.every((path) => existsSync(path)) ? `needs ${programs.join(', ')}` : canMakeHosts

/** A folder with a root file system, `root`, and an OCI layout, `layout`, of it. */
export interface ImageBench {
  readonly dir: string
  /** What an image of the layout is called. */
  reference(tag: string): string
  remove(): void
}

/**
 * Makes one, of busybox alone. Tags: `full` (a shell, and everything that a configuration can say), `bare` (no shell:
 * one program), `links` (its passwd is a link that would lead to the machine's own).
 */
export function makeImageBench(): ImageBench {
  const dir = mkdtempSync(join(tmpdir(), 'weft-images-'))
  const layout = join(dir, 'layout')
  const umoci = (...args: readonly string[]) =>
    execFileSync('umoci', args, { stdio: 'pipe', env: { ...process.env, HOME: '/' } })
  const root = join(dir, 'root')
  for (const path of ['bin', 'etc', 'tmp']) mkdirSync(join(root, path), { recursive: true })
  copyFileSync('/usr/bin/busybox', join(root, 'bin/busybox'))
  for (const name of ['sh', 'cat', 'id', 'ls', 'sleep', 'touch', 'env', 'wget', 'nc'])
    symlinkSync('/bin/busybox', join(root, 'bin', name))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1234:1235::/home/app:/bin/sh\n')
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nstaff:x:50:\n')
  writeFileSync(join(root, 'etc/marker'), 'of the image')
  const bare = join(dir, 'bare')
  mkdirSync(bare)
  copyFileSync('/usr/bin/busybox', join(bare, 'echo'))
  const links = join(dir, 'links')
  mkdirSync(join(links, 'etc'), { recursive: true })
  symlinkSync('../../../../../../../../etc/passwd', join(links, 'etc/passwd'))
  copyFileSync('/usr/bin/busybox', join(links, 'echo'))
  umoci('init', '--layout', layout)
  const add = (tag: string, from: string, ...config: readonly string[]) => {
    umoci('new', '--image', `${layout}:${tag}`)
    umoci('insert', '--image', `${layout}:${tag}`, from, '/')
    if (config.length > 0) umoci('config', '--image', `${layout}:${tag}`, ...config)
  }
  const run = [
    '--config.entrypoint',
    '/bin/sh',
    '--config.cmd',
    '-c',
    '--config.cmd',
    'echo "$FROM $(id -u):$(id -g) $(pwd) $HOME"',
  ]
  add('full', root, ...run, '--config.env', 'FROM=image', '--config.workingdir', '/work', '--config.user', 'app')
  add('bare', bare, '--config.entrypoint', '/echo', '--config.cmd', 'without', '--config.cmd', 'shell')
  add('links', links, '--config.entrypoint', '/echo')
  return { dir, reference: (tag) => `oci:${layout}:${tag}`, remove: () => rmSync(dir, { recursive: true }) }
}

/** A registry that serves one layout under any name. */
export interface TestRegistry {
  /** `127.0.0.1:PORT`. */
  readonly host: string
  /** Paths that were asked for. */
  readonly requests: string[]
  /** How long it waits before each blob. */
  delayMs: number
  close(): void
}

/** Serves the reading half of the distribution API. Source: opencontainers/distribution-spec, Pull. */
export async function openTestRegistry(layout: string, at: { readonly netns?: string } = {}): Promise<TestRegistry> {
  const requests: string[] = []
  const blob = (digest: string) => readFileSync(join(layout, 'blobs', ...digest.split(':')))
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const [, kind, reference = ''] = /^\/v2\/.+\/(manifests|blobs)\/([\w.:-]+)$/.exec(path) ?? []
    const answer = () => {
      try {
        if (kind === undefined) return void response.writeHead(path === '/v2/' ? 200 : 404).end()
        const digest = kind === 'blobs' || reference.includes(':') ? reference : tagged(layout, reference)
        const bytes = blob(digest)
        const type = kind === 'blobs' ? 'application/octet-stream' : 'application/vnd.oci.image.manifest.v1+json'
        const real = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
        response.writeHead(200, { 'content-type': type, 'content-length': bytes.length, 'docker-content-digest': real })
        response.end(request.method === 'HEAD' ? undefined : bytes)
      } catch {
        response.writeHead(404, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }] }))
      }
    }
    setTimeout(answer, kind === 'blobs' ? registry.delayMs : 0)
  })
  const { netns } = at
  const listening = new Promise((resolve) => server.once('listening', resolve))
  // Without a name to look up the socket is made at once, inside.
  if (netns === undefined) server.listen(0, '127.0.0.1')
  else insideNetns(netns, () => server.listen(0))
  await listening
  const { port } = server.address() as AddressInfo
  const registry: TestRegistry = { host: `127.0.0.1:${port}`, requests, delayMs: 0, close: () => void server.close() }
  return registry
}

/** A real containerizer on a state directory of its own. */
export interface ContainerBench {
  readonly paths: AgentPaths
  readonly containerizer: Containerizer
  readonly exits: readonly ContainerExit[]
  /** As an agent that is started again on the same state. */
  reopen(): Containerizer
  output(containerId: string, stream?: 'stdout' | 'stderr'): string
  remove(): Promise<void>
}

/** Opens one. */
export async function openContainerBench(flags: Partial<ProvisionFlags> = {}): Promise<ContainerBench> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-image-agent-'))
  const paths = agentPaths(dir)
  const host = prepareHostView(paths.rootfs, [dir])
  const cgroups = openCgroups(cgroupParent('test', dir))
  const runtime = await chooseRuntime({ paths, host, cgroups })
  const exits: ContainerExit[] = []
  const endings: AbortController[] = []
  const open = () => {
    const ending = new AbortController()
    for (const earlier of endings) earlier.abort()
    endings.push(ending)
    const at = { paths, host, clock: systemClock, log: silentLog }
    const wanted = { insecureRegistries: [], hostVolumes: [], imageDiskMb: 1000, ...flags }
    const provisions = openProvisions(at, wanted, ending)
    const onExit = (exit: ContainerExit) => void exits.push(exit)
    return openOciContainerizer({ ...at, ...provisions, cgroups, runtime, onExit, signal: ending.signal })
  }
  const containerizer = open()
  const remove = async () => {
    for (const ending of endings) ending.abort()
    await removeEverything(dir)
    rmSync(dir, { recursive: true })
  }
  const output = (id: string, stream = 'stdout') => readFileSync(join(paths.sandboxes, id, stream), 'utf8')
  return { paths, containerizer, exits, reopen: open, output, remove }
}

function tagged(layout: string, tag: string): string {
  const index: unknown = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'))
  const manifests = typeof index === 'object' && index !== null && 'manifests' in index ? index.manifests : []
  const found = Array.isArray(manifests)
    ? manifests.find((each) => each.annotations['org.opencontainers.image.ref.name'] === tag)
    : undefined
  return String(found.digest)
}
