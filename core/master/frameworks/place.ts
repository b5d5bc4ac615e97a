import { cidrContains, parseCidr } from '../../base/cidr.ts'
import { type Ip, ipFamily, parseIp } from '../../base/ip.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'

/** What is known of where a framework runs. */
export interface PlaceFacts {
  /** `FrameworkInfo.hostname`: an address or a name, maybe empty. */
  readonly hostname: string
  /** Where its subscription came from. */
  readonly from?: Ip | undefined
  /** Address of a node of the cluster by its name. */
  readonly node: (name: string) => Ip | undefined
  /** Of the machine that this master runs on. */
  readonly self: Ip | undefined
}

const loopbacks = [parseCidr('127.0.0.0/8'), parseCidr('::1/128')]

/**
 * What it says itself, if that is an address or a node; else where its connection comes from, so that no resolver is asked:
 * other names mean what they mean to others only. Loopback: this machine. Source: mesos-dns, records/generator.go takes
 * the host's name of frameworks that speak HTTP.
 */
export function frameworkAddress({ hostname, from, node, self }: PlaceFacts): Ip | undefined {
  const said = addressOf(hostname) ?? node(hostname)
  const found = said ?? from
  return found !== undefined && isLoopback(found) ? self : found
}

function isLoopback(address: Ip): boolean {
  return loopbacks.some((range) => ipFamily(range) === ipFamily(address) && cidrContains(range, address))
}

function addressOf(hostname: string): Ip | undefined {
  try {
    return parseIp(hostname)
  } catch {
    return undefined // ERR_IP_INVALID: it is a name
  }
}

/** Tells the nodes where the framework runs now; that a torn down one runs nowhere. */
export function publishPlace({ publisher, registrar, self }: MasterContext, entry: FrameworkEntry): void {
  const { id, info, state, from } = entry
  const nodes = registrar.state.nodes
  const node = (name: string) => [...nodes.values()].find((one) => one.name === name)?.underlay
  const address = frameworkAddress({ hostname: info.hostname, from, node, self: nodes.get(self)?.underlay })
  if (state === 'removed' || address === undefined) {
    publisher.framework(id, undefined)
    return
  }
  // One in this process is called where the master is.
  const inside = state === 'connected' && from === undefined
  const port = inside ? Number(/:(\d+)$/.exec(nodes.get(self)?.masterPlace?.http ?? '')?.[1]) : 0
  publisher.framework(id, { id, name: info.name, addresses: [address], ...(port > 0 && { port }) })
}
