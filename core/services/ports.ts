import { type Protocol } from '../model/task.ts'
import { type PortRange, subtractResources, noResources } from '../model/resources.ts'
import { type AppFields } from './schema.ts'

/** How a port gets a number on the host. */
export type HostPortWish =
  | { readonly kind: 'none' }
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly port: number }

/** A port of an app, whichever way it was declared. */
export interface AppPort {
  readonly name?: string
  readonly protocols: readonly Protocol[]
  readonly labels: Readonly<Record<string, string>>
  readonly host: HostPortWish
  /** Port inside the container; 0: the same as the host port. Absent on the host's network. */
  readonly containerPort?: number
  /** The number that the app's author wrote, for the name of an environment variable; 0: none. */
  readonly declared: number
  /** Networks it is meant for; empty: all of the app's. */
  readonly networkNames: readonly string[]
  /** Where it stands in the JSON: `/container/portMappings(0)`. */
  readonly path: string
}

/** What of an app decides its ports. */
export type PortFields = Pick<AppFields, 'networks' | 'container' | 'portDefinitions' | 'requirePorts'>

/** True when the app has no network but the host's. */
export function isHostMode(app: Pick<AppFields, 'networks'>): boolean {
  return app.networks.every(({ mode }) => mode === 'host')
}

/** The ports of an app in order: PORT0, PORT1, … */
export function appPorts(app: PortFields): readonly AppPort[] {
  return isHostMode(app) ? hostModePorts(app) : mappedPorts(app)
}

function hostModePorts(app: PortFields): readonly AppPort[] {
  return (app.portDefinitions ?? []).map(({ name, labels, port, protocol }, i) => ({
    ...(name === undefined ? {} : { name }),
    protocols: protocolsOf(protocol),
    labels,
    // Without requirePorts the number is a service port only, and any host port will do.
    host: app.requirePorts && port !== 0 ? { kind: 'exact', port } : { kind: 'any' },
    declared: port,
    networkNames: [],
    path: `/portDefinitions(${i})`,
  }))
}

function mappedPorts(app: PortFields): readonly AppPort[] {
  return (app.container?.portMappings ?? []).map((mapping, i) => ({
    ...(mapping.name === undefined ? {} : { name: mapping.name }),
    protocols: protocolsOf(mapping.protocol),
    labels: mapping.labels,
    host: hostWish(mapping.hostPort),
    containerPort: mapping.containerPort,
    declared: mapping.containerPort,
    networkNames: mapping.networkNames,
    path: `/container/portMappings(${i})`,
  }))
}

function hostWish(hostPort: number | undefined): HostPortWish {
  if (hostPort === undefined) return { kind: 'none' }
  return hostPort === 0 ? { kind: 'any' } : { kind: 'exact', port: hostPort }
}

/** `udp,tcp` → both, tcp first. */
export function protocolsOf(text: 'tcp' | 'udp' | 'udp,tcp' | 'tcp,udp'): readonly Protocol[] {
  return text === 'tcp' || text === 'udp' ? [text] : ['tcp', 'udp']
}

/**
 * A host port for each port that wants one, from the ranges of an offer; undefined when they don't suffice. Exact ones
 * are taken first. `seed` says where to start, so that a port is not used again at once after its task ended.
 */
export function assignHostPorts(
  ports: readonly AppPort[],
  ranges: readonly PortRange[],
  seed: number,
): readonly (number | undefined)[] | undefined {
  let free = ranges
  const take = (port: number): void => {
    free = subtractResources(
      { ...noResources, ports: free },
      { ...noResources, ports: [{ begin: port, end: port }] },
    ).ports
  }
  const exact = new Set<number>()
  for (const { host } of ports) {
    if (host.kind !== 'exact' || exact.has(host.port)) continue
    if (!free.some(({ begin, end }) => begin <= host.port && host.port <= end)) return undefined
    exact.add(host.port)
    take(host.port)
  }
  const assigned: (number | undefined)[] = []
  for (const { host } of ports) {
    const port = host.kind === 'exact' ? host.port : host.kind === 'any' ? nthPort(free, seed) : undefined
    if (port === undefined && host.kind !== 'none') return undefined
    if (port !== undefined && host.kind === 'any') take(port)
    assigned.push(port)
  }
  return assigned
}

/** The port at `seed` modulo how many there are. */
function nthPort(ranges: readonly PortRange[], seed: number): number | undefined {
  const count = ranges.reduce((sum, { begin, end }) => sum + end - begin + 1, 0)
  let rest = count === 0 ? 0 : seed % count
  for (const { begin, end } of ranges) {
    if (rest <= end - begin) return begin + rest
    rest -= end - begin + 1
  }
  return undefined
}
