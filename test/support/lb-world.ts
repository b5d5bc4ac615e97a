import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type TestHost } from './hosts.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** Addresses of the node in {@link makeRouterNode}. */
export const routerAddresses = { vtep4: '100.97.0.1', vtep6: 'fd01:a::1', underlay: '192.0.2.1' } as const

/** Makes a host a node: forwards, and has VTEP and underlay addresses on devices that lead nowhere. */
export function makeRouterNode(host: TestHost): void {
  for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    host.run('sh', '-c', `echo 1 > /proc/sys/net/${path}`)
  }
  for (const [device, ...addresses] of [
    ['vtep', `${routerAddresses.vtep4}/20`, `${routerAddresses.vtep6}/64`],
    ['under', `${routerAddresses.underlay}/24`],
  ] as const) {
    host.run('ip', 'link', 'add', device, 'type', 'bridge') // no port: this kernel has no dummy
    host.run('ip', 'link', 'set', device, 'up')
    for (const address of addresses) {
      host.run('ip', 'addr', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []))
    }
  }
}

/** Plugs a container in as the CNI plugin does: routed through a link-local gateway, no bridge. */
export function plugContainer(node: TestHost, container: TestHost, { device, ip4, ip6 }: Place): void {
  node.run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', container.name)
  node.run('ip', 'link', 'set', device, 'up')
  node.run('ip', 'addr', 'add', '169.254.1.1/32', 'dev', device, 'scope', 'link')
  node.run('ip', 'addr', 'add', 'fe80::1/64', 'dev', device, 'nodad')
  container.run('ip', 'link', 'set', 'eth0', 'up')
  container.run('ip', 'addr', 'add', `${ip4}/32`, 'dev', 'eth0')
  container.run('ip', 'addr', 'add', `${ip6}/128`, 'dev', 'eth0', 'nodad')
  container.run('ip', 'route', 'add', 'default', 'via', '169.254.1.1', 'dev', 'eth0', 'onlink', 'src', ip4)
  container.run('ip', '-6', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', 'eth0', 'src', ip6)
  node.run('ip', 'route', 'add', `${ip4}/32`, 'dev', device)
  node.run('ip', '-6', 'route', 'add', `${ip6}/128`, 'dev', device)
}

/** Where a container is plugged in. */
export interface Place {
  readonly device: string
  readonly ip4: string
  readonly ip6: string
}

/** Starts a server on TCP and UDP, both IP versions, that tells its name and whom it sees; ready when this resolves. */
export async function startServer(host: TestHost, name: string, port: number): Promise<ChildProcess> {
  const child = host.start(process.execPath, fixture('lb-server.ts'), name, String(port))
  if (child.stdout !== null) await once(createInterface(child.stdout), 'line')
  return child
}

/** What one attempt of a client got. */
export interface Attempt {
  /** Name of the server that answered. */
  readonly server?: string
  /** The client's address as the server saw it. */
  readonly seen?: string
  /** Code of the failure; `TIMEOUT` after 3 s without an answer. */
  readonly error?: string
  readonly elapsedMs: number
}

/** Connects (or sends) `count` times in turn, each time anew. */
export function askServer(
  host: TestHost,
  target: { readonly protocol: 'tcp' | 'udp'; readonly address: string; readonly port: number },
  count = 1,
): readonly Attempt[] {
  const { protocol, address, port } = target
  return parseAttempts(
    host.run(process.execPath, fixture('lb-client.ts'), protocol, address, String(port), String(count)),
  )
}

/** A TCP connection that stays. */
export interface Connection {
  /** What it got when it was opened. */
  readonly first: Attempt
  /** Sends on it again, and tells what comes back. */
  ask(): Promise<Attempt>
}

/** Opens a TCP connection in the host; it ends with the host. */
export async function openConnection(host: TestHost, address: string, port: number): Promise<Connection> {
  const child = host.start(process.execPath, fixture('lb-client.ts'), 'keep', address, String(port), '1')
  const lines = child.stdout === null ? undefined : createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<Attempt> => {
    const line = await lines?.next()
    return line?.done === false ? (parseAttempts(line.value)[0] ?? noAnswer) : noAnswer
  }
  const first = await next()
  return {
    first,
    ask: async () => {
      child.kill('SIGUSR2')
      return next()
    },
  }
}

const noAnswer: Attempt = { error: 'no answer', elapsedMs: 0 }

function parseAttempts(text: string): readonly Attempt[] {
  const lines = text.trim().split('\n')
  return lines.map((line): Attempt => JSON.parse(line))
}
