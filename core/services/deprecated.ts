import { isObject, type JsonObject } from '../scheduling/json.ts'
import { type Finding } from '../scheduling/problem.ts'

/** An app in today's form, and what is wrong with its old form. */
export interface Translated {
  readonly app: JsonObject
  readonly findings: readonly Finding[]
}

/**
 * Fields that Marathon deprecated, in the form that took their place: `ports` as portDefinitions, `ipAddress` as networks and
 * port mappings. Both forms at once are refused. What is not of the right type stays where it is, for the schema to name.
 * Source: marathon, docs/networking, "Deprecated"; types/network.raml, IpAddress.
 */
export function translateDeprecated(body: JsonObject): Translated {
  const ports = translatePorts(body)
  const ip = translateIpAddress(ports.app)
  return { app: ip.app, findings: [...ports.findings, ...ip.findings] }
}

function translatePorts(body: JsonObject): Translated {
  const { ports, ...rest } = body
  if (!Array.isArray(ports)) return { app: body, findings: [] }
  const findings = ports.flatMap((port: unknown, i) =>
    Number.isInteger(port) && Number(port) >= 0 && Number(port) <= 65_535
      ? []
      : [{ path: `/ports(${i})`, error: 'must be a port number, or 0 for any' }],
  )
  if (body['portDefinitions'] !== undefined) {
    return { app: rest, findings: [{ path: '/ports', error: 'is the old form of portDefinitions: give one of them' }] }
  }
  if (findings.length > 0) return { app: rest, findings }
  // In a container's network the old field only says which service ports are wanted: its mappings say the rest.
  const isHost = body['ipAddress'] === undefined && isHostNetwork(body['networks'])
  return { app: isHost ? { ...rest, portDefinitions: ports.map((port: unknown) => ({ port })) } : rest, findings: [] }
}

function isHostNetwork(networks: unknown): boolean {
  return !Array.isArray(networks) || networks.every((network) => isObject(network) && network['mode'] === 'host')
}

function translateIpAddress(body: JsonObject): Translated {
  const { ipAddress, ...rest } = body
  if (!isObject(ipAddress)) return { app: body, findings: [] }
  const { networkName, labels, discovery, groups, ...unknown } = ipAddress
  const findings: Finding[] = Object.keys(unknown).map((key) => ({
    path: `/ipAddress/${key}`,
    error: 'is not a field that exists here',
  }))
  if (body['networks'] !== undefined) {
    findings.push({ path: '/ipAddress', error: 'is the old form of networks: give one of them' })
  }
  if (typeof networkName !== 'string') {
    findings.push({ path: '/ipAddress/networkName', error: 'give the name of a network' })
  }
  if (Array.isArray(groups) && groups.length > 0) {
    findings.push({ path: '/ipAddress/groups', error: 'is not possible: isolate by networks and policies' })
  }
  const network = { mode: 'container', name: networkName, ...(labels === undefined ? {} : { labels }) }
  const mapped = mappingsOf(discovery, body['container'])
  const container = mapped.mappings === undefined ? {} : { container: mapped.mappings }
  return { app: { ...rest, networks: [network], ...container }, findings: [...findings, ...mapped.findings] }
}

/** `discovery.ports` as port mappings without host ports. */
function mappingsOf(
  discovery: unknown,
  container: unknown,
): { readonly mappings?: JsonObject; readonly findings: readonly Finding[] } {
  const ports = isObject(discovery) ? discovery['ports'] : undefined
  if (!Array.isArray(ports) || ports.length === 0) return { findings: [] }
  const own = isObject(container) ? container : {}
  if (own['portMappings'] !== undefined) {
    const error = 'is the old form of container.portMappings: give one of them'
    return { findings: [{ path: '/ipAddress/discovery/ports', error }] }
  }
  const portMappings = ports.map((port: unknown) => {
    if (!isObject(port)) return port
    const { number, ...fields } = port
    return { containerPort: number, ...fields }
  })
  return { mappings: { ...own, portMappings }, findings: [] }
}
