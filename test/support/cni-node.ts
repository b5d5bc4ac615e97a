import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pluginRunner } from '../../cni-plugins/cni/runner.ts'
import { buildCniClient } from '../../cni-plugins/weft/build.mjs'
import { parseCidr } from '../../core/base/cidr.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseNetworkName } from '../../core/model/ids.ts'
import { type Leases, openLeases } from '../../networking/ipam/leases.ts'
import { type AttachKernel, openAttachKernel } from '../../networking/attach/kernel.ts'
import { type CniDeps } from '../../networking/node/cni-deps.ts'
import { cniHandler } from '../../networking/node/cni-handler.ts'
import { type CniServer, openCniServer } from '../../networking/node/cni-server.ts'
import { type CniView } from '../../networking/node/cni-view.ts'
import { makeHost, type TestHost } from './hosts.ts'

/** What a plugin said. */
export interface CniOutcome {
  readonly exitCode: number
  readonly stdout: string
  /** Standard output as JSON; undefined when empty. */
  readonly answer: Record<string, unknown> | undefined
}

/** A simulated node with the CNI half of a node daemon in this process. */
export interface CniNode {
  readonly host: TestHost
  readonly directory: string
  readonly socketPath: string
  readonly kernel: AttachKernel
  leases(): Leases
  /** Starts the daemon's half: replaced dependencies inject failures. */
  start(changes?: Partial<CniDeps>): Promise<void>
  stop(): Promise<void>
  /** A namespace for a container, removed with the node. */
  container(label: string): TestHost
  /** Names of the containers' links on the node. */
  hostLinks(): readonly string[]
  remove(): Promise<void>
}

/** Two networks: `dcos` with both IP versions, `small` with IPv4 and five addresses; `bare` has no subnet here yet. */
export const testView: CniView = {
  networks: new Map([
    [
      parseNetworkName('dcos'),
      {
        subnets: [parseCidr('10.80.1.0/24'), parseCidr('fd00:77:0:1::/64')],
        wholeSubnets: [parseCidr('10.80.0.0/14'), parseCidr('fd00:77::/48')],
        mtuBytes: 1450,
      },
    ],
    [
      parseNetworkName('small'),
      { subnets: [parseCidr('10.84.1.0/29')], wholeSubnets: [parseCidr('10.84.0.0/16')], mtuBytes: 1400 },
    ],
    [parseNetworkName('bare'), { subnets: [], wholeSubnets: [parseCidr('10.85.0.0/16')], mtuBytes: 1400 }],
  ]),
  dns: { nameservers: ['198.51.100.1'], search: [], options: ['ndots:1'] },
}

/** Makes a node that routes, with one address of its own; the daemon's half is not started yet. */
export function makeCniNode(label: string): CniNode {
  const host = makeHost(label)
  host.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1')
  host.run('ip', 'addr', 'add', '192.0.2.1/32', 'dev', 'lo')
  host.run('ip', 'addr', 'add', '2001:db8::1/128', 'dev', 'lo', 'nodad')
  const directory = mkdtempSync(join(tmpdir(), 'wft-cni-'))
  const socketPath = join(directory, 'run', 'net.sock')
  const kernel = openAttachKernel({ netns: host.path })
  const containers: TestHost[] = []
  const plugins = (directories: readonly string[]) => pluginRunner({ directories, env: { PATH: process.env['PATH'] } })
  let running: { readonly server: CniServer; readonly leases: Leases } | undefined
  const stop = async () => {
    await running?.server.close()
    await running?.leases.close()
    running = undefined
  }
  return {
    host,
    directory,
    socketPath,
    kernel,
    leases: () => {
      if (running === undefined) throw new Error('not started')
      return running.leases
    },
    start: async (changes = {}) => {
      const path = join(directory, 'leases.jsonl')
      const leases = await openLeases({ path, bootId: 'boot', log: silentLog })
      const deps: CniDeps = { leases, kernel, view: () => testView, log: silentLog, plugins, ...changes }
      const server = await openCniServer({ socketPath, handler: cniHandler(deps), log: silentLog, idleTimeoutMs: 500 })
      running = { server, leases }
    },
    stop,
    container: (name) => {
      const container = makeHost(name)
      containers.push(container)
      return container
    },
    hostLinks: () => host.run('ip', '-o', 'link', 'show', 'type', 'veth').match(/wfc[a-z2-7]{12}/g) ?? [],
    remove: async () => {
      await stop()
      kernel.close()
      for (const { remove } of [...containers, host]) remove()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The clients that must behave alike: name → path of the executable, built into `directory`. */
export function buildClients(directory: string): ReadonlyMap<string, string> {
  const clients = new Map<string, string>()
  const compiled = join(directory, 'weft-c')
  if (buildCniClient({ output: compiled }) === 'c') clients.set('c', compiled)
  const withLibrary = join(directory, 'weft-libc')
  if (buildCniClient({ output: withLibrary, library: 'c' }) === 'c') clients.set('libc', withLibrary)
  const fallback = join(directory, 'weft-fallback')
  buildCniClient({ output: fallback, compiler: 'none' })
  return clients.set('fallback', fallback)
}

/** Starts the plugin as a runtime does. `input` is a configuration, or text as it is. */
export function callPlugin(
  path: string,
  env: Readonly<Record<string, string>>,
  input: object | string,
): Promise<CniOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { env: { PATH: process.env['PATH'], ...env }, stdio: ['pipe', 'pipe', 'inherit'] })
    const chunks: Buffer[] = []
    child.once('error', reject)
    child.stdin.on('error', () => undefined) // EPIPE: it may not read at all
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.once('close', (code) => {
      const stdout = Buffer.concat(chunks).toString()
      const answer = stdout === '' ? undefined : parseObject(stdout)
      resolve({ exitCode: code ?? -1, stdout, answer })
    })
    child.stdin.end(typeof input === 'string' ? input : JSON.stringify(input))
  })
}

function parseObject(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new Error(`not an object: ${text}`)
  return { ...value }
}
