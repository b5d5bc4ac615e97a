import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { buildCniClient } from '../../cni-plugins/weft/build.mjs'
import { createNetns, deleteNetns } from '../../networking/netns.ts'
import { makeHost, type TestHost } from './hosts.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** Where Debian's containernetworking-plugins are. */
export const referenceFolder = '/usr/lib/cni'

/** Why the reference plugins can't be measured; undefined when they can. */
export function noReference(): string | undefined {
  return existsSync(join(referenceFolder, 'bridge')) ? undefined : 'containernetworking-plugins is not installed'
}

/** `plain`: an address and a link. `mapped`: with masquerade and a port mapping. */
export type Variant = 'plain' | 'mapped'

/** One way of making containers' networks, ready to be measured. */
export interface Contestant {
  readonly name: string
  /** Plugin and configuration of each call, in the order of ADD. */
  readonly chain: readonly { readonly plugin: string; readonly config: object }[]
  readonly host: TestHost
  readonly folder: string
  /** Rounds before it is what a container meets: a daemon runs for long. */
  readonly warmUps: number
  /** Milliseconds of processor time of what goes on running between calls. */
  residentCpuMs(): Promise<number>
  remove(): void
}

/** What a round of calls took. */
export interface Round {
  /** Milliseconds of each container's calls. */
  readonly times: readonly number[]
  readonly wallMs: number
  /** Of plugins and daemon, all calls together. */
  readonly cpuMs: number
}

const portMappings = [{ hostPort: 'PORT', containerPort: 80, protocol: 'tcp' }]

/** The plugin and a daemon for it, with so many leases already there. */
export async function makeOurs(variant: Variant, leases: number): Promise<Contestant> {
  const folder = mkdtempSync(join(tmpdir(), 'wft-bench-'))
  const host = makeHost('ours')
  const plugin = join(folder, 'weft')
  buildCniClient({ output: plugin })
  const lines = addressesOf(leases).map((address, i) => {
    const lease = { network: 'bench', container: `old-${i}`, ifname: 'eth0', addresses: [address] }
    return JSON.stringify({
      op: 'lease',
      lease: { ...lease, mac: '02:00:00:00:00:01', hostLink: `wfc${i}`, bootId: 'boot' },
    })
  })
  writeFileSync(join(folder, 'leases'), lines.map((line) => `${line}\n`).join(''))
  const daemon = spawn(process.execPath, [fixture('cni-daemon.ts'), host.path, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const answers = createInterface(daemon.stdout)[Symbol.asyncIterator]()
  await answers.next()
  const runtimeConfig = variant === 'mapped' ? { runtimeConfig: { portMappings } } : {}
  const config = {
    cniVersion: '1.0.0',
    name: 'bench',
    type: 'weft',
    socket: join(folder, 'net.sock'),
    ...runtimeConfig,
  }
  return {
    ...{ name: 'weft', host, folder, chain: [{ plugin, config }], warmUps: 4 },
    residentCpuMs: async () => {
      daemon.stdin.write('\n')
      const { value } = await answers.next()
      return Number(value) / 1000
    },
    remove: () => {
      daemon.kill('SIGKILL')
      host.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A plugin that does nothing: what driving costs. */
export function makeIdle(): Contestant {
  const folder = mkdtempSync(join(tmpdir(), 'wft-bench-'))
  const host = makeHost('idle')
  const remove = () => {
    host.remove()
    rmSync(folder, { recursive: true, force: true })
  }
  const chain = [{ plugin: '/bin/true', config: {} }]
  return { name: 'idle', host, folder, chain, warmUps: 0, residentCpuMs: async () => 0, remove }
}

/** bridge with host-local, with so many leases already there; `mapped`: ipMasq, and portmap behind. */
export function makeReference(variant: Variant, leases: number): Contestant {
  const folder = mkdtempSync(join(tmpdir(), 'wft-bench-'))
  const host = makeHost('reference')
  const dataDir = join(folder, 'ipam')
  mkdirSync(join(dataDir, 'bench'), { recursive: true })
  for (const [i, address] of addressesOf(leases).entries()) {
    writeFileSync(join(dataDir, 'bench', address), `old-${i}\r\neth0`)
  }
  if (leases > 0) writeFileSync(join(dataDir, 'bench', 'last_reserved_ip.0'), addressesOf(leases).at(-1) ?? '')
  const common = { cniVersion: '1.0.0', name: 'bench' }
  const ipam = { type: 'host-local', dataDir, ranges: [[{ subnet: '10.80.0.0/16' }]] }
  const bridge = { ...common, type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: variant === 'mapped', ipam }
  const portmap = { ...common, type: 'portmap', prevResult: 'PREV', runtimeConfig: { portMappings } }
  const chain = [
    { plugin: join(referenceFolder, 'bridge'), config: bridge },
    ...(variant === 'mapped' ? [{ plugin: join(referenceFolder, 'portmap'), config: portmap }] : []),
  ]
  return {
    ...{ name: variant === 'mapped' ? 'bridge, host-local, portmap' : 'bridge, host-local', chain, host, folder },
    warmUps: 1,
    residentCpuMs: async () => 0,
    remove: () => {
      host.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The first addresses of 10.80.0.0/16 behind the gateway's. */
function addressesOf(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `10.80.${(i + 2) >> 8}.${(i + 2) & 255}`)
}

/** Calls the contestant for each namespace, `workers` at once. */
export async function drive(
  contestant: Contestant,
  {
    command,
    workers,
    netns,
  }: { readonly command: 'ADD' | 'DEL'; readonly workers: number; readonly netns: readonly string[] },
): Promise<Round> {
  const { chain, folder, host } = contestant
  const steps = chain.map(({ plugin, config }, i) => {
    const path = join(folder, `config-${i}`)
    // DEL needs no earlier result, and has none to give.
    const { prevResult: _, ...rest } = { prevResult: undefined, ...config }
    writeFileSync(path, JSON.stringify(command === 'ADD' ? config : rest))
    return `${plugin}=${path}`
  })
  const before = await contestant.residentCpuMs()
  const text = host.run('perl', fixture('cni-drive.pl'), command, String(workers), folder, ...steps, '--', ...netns)
  const [list = '', total = ''] = text.trim().split('\n')
  const [wallMs = Number.NaN, cpuMs = Number.NaN] = (/wall (\S+) cpu (\S+)/.exec(total) ?? []).slice(1).map(Number)
  const residentMs = (await contestant.residentCpuMs()) - before
  return { times: list.split(' ').map(Number), wallMs, cpuMs: cpuMs + residentMs }
}

/** Namespaces for containers. */
export function makeContainers(count: number): { readonly netns: readonly string[]; remove(): void } {
  const netns = Array.from({ length: count }, (_, i) => `/run/netns/wft-${process.pid}-bench-${i}`)
  netns.forEach(createNetns)
  return { netns, remove: () => netns.forEach(deleteNetns) }
}
