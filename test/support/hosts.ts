import { type ChildProcess, execFileSync, spawn } from 'node:child_process'

let counter = 0

/** A throw-away network namespace that stands for a machine. Its name is unique to this process. */
export interface TestHost {
  readonly name: string
  /** For setns and for netlink sockets. */
  readonly path: string
  /** Runs one command in it and returns its standard output. @throws with standard error when it fails */
  run(command: string, ...args: readonly string[]): string
  /** Starts a process in it; it is killed when the host is removed. */
  start(command: string, ...args: readonly string[]): ChildProcess
  remove(): void
}

/** True where namespaces can be made: root, or after `unshare -rn` with a private /run. */
export const canMakeHosts: string | false = process.getuid?.() === 0 ? false : 'needs root to make network namespaces'

/** Makes a namespace with only loopback, up. */
export function makeHost(label: string): TestHost {
  const name = `wft-${process.pid}-${counter++}-${label}`
  execFileSync('ip', ['netns', 'add', name])
  const children: ChildProcess[] = []
  const path = `/run/netns/${name}`
  const run = (command: string, ...args: readonly string[]) =>
    execFileSync('nsenter', [`--net=${path}`, command, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  const start = (command: string, ...args: readonly string[]) => {
    const child = spawn('nsenter', [`--net=${path}`, command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    return child
  }
  run('ip', 'link', 'set', 'lo', 'up')
  const remove = () => {
    for (const child of children) child.kill('SIGKILL')
    execFileSync('ip', ['netns', 'del', name])
  }
  return { name, path, run, start, remove }
}

/** A layer-2 segment in a namespace of its own: a bridge without a route out. */
export interface TestSegment {
  readonly host: TestHost
  /** Plugs a host in: `device` inside gets `address` (with length) and goes up. */
  plug(host: TestHost, device: string, ...addresses: readonly string[]): void
}

/** Makes a bridge in its own namespace. */
export function makeSegment(label = 'segment'): TestSegment {
  const host = makeHost(label)
  host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
  host.run('ip', 'link', 'set', 'br0', 'up')
  let ports = 0
  const plug = (target: TestHost, device: string, ...addresses: readonly string[]) => {
    const port = `p${ports++}`
    host.run('ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', device, 'netns', target.name)
    host.run('ip', 'link', 'set', port, 'master', 'br0', 'up')
    target.run('ip', 'link', 'set', device, 'up')
    for (const address of addresses) {
      const nodad = address.includes(':') ? ['nodad'] : []
      target.run('ip', 'addr', 'add', address, 'dev', device, ...nodad)
    }
  }
  return { host, plug }
}
