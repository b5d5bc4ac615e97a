import { type AppDefinition } from './app.ts'
import { type Instance, isServing } from './instance.ts'
import { appPorts } from './ports.ts'

/** A port of an app: the number that proxies serve it under, and where its instances serve it. */
interface Endpoint {
  readonly servicePort: number
  readonly servers: readonly string[]
}

/** Numbers that the app's author gave its ports for proxies; 0: none. */
export function servicePorts(app: AppDefinition): readonly number[] {
  const mappings = app.container?.portMappings ?? []
  return appPorts(app).map((port, i) =>
    port.containerPort === undefined ? port.declared : (mappings[i]?.servicePort ?? 0),
  )
}

/**
 * The instances of an app that serve, as lines for proxies: app, service port and `host:port` of each, divided by tabs. An app
 * without ports has one line with its hosts. Source: marathon, EndpointsHelper.appsToEndpointString.
 */
export function endpointLines(app: AppDefinition, instances: readonly Instance[]): string {
  const name = app.id.slice(1).replaceAll('/', '_')
  const line = ({ servicePort, servers }: Endpoint) => `${[name, servicePort, ...servers].join('\t')}\n`
  const serving = instances.filter(isServing)
  const ports = servicePorts(app)
  if (ports.length === 0) {
    const hosts = serving.map(({ place }) => place.hostname)
    return `${[name, ' ', ...hosts].join('\t')}\n`
  }
  return ports
    .map((servicePort, i) => line({ servicePort, servers: serving.flatMap((one) => serverOf(app, one, i) ?? []) }))
    .join('')
}

/** The host's port where there is one, else the container's own address and port. */
function serverOf(app: AppDefinition, { place, hostPorts, networks }: Instance, index: number): string | undefined {
  const ports = appPorts(app)
  const port = ports[index]
  if (port === undefined) return undefined
  if (port.host.kind !== 'none') {
    const nth = ports.slice(0, index).filter(({ host }) => host.kind !== 'none').length
    const hostPort = hostPorts[nth]
    return hostPort === undefined ? undefined : `${place.hostname}:${hostPort}`
  }
  const address = networks.find(({ name }) => port.networkNames.length === 0 || port.networkNames[0] === name)
    ?.addresses[0]
  if (address === undefined) return undefined
  return `${address.includes(':') ? `[${address}]` : address}:${port.containerPort}`
}
