import { type AppPort, appPorts, isHostMode } from './ports.ts'
import { type Finding } from '../scheduling/problem.ts'
import { type AppFields } from './schema.ts'

/** Ports declared where the app's kind of network has none. */
export function checkPortPlaces(app: AppFields): readonly Finding[] {
  const host = isHostMode(app)
  const findings: Finding[] = []
  if (host && (app.container?.portMappings.length ?? 0) > 0) {
    const error = 'the host network has no port mappings: use portDefinitions, or a network of mode "container"'
    findings.push({ path: '/container/portMappings', error })
  }
  if (!host && (app.portDefinitions?.length ?? 0) > 0) {
    findings.push({ path: '/portDefinitions', error: 'is for the host network: use container.portMappings' })
  }
  if (!host && app.requirePorts) findings.push({ path: '/requirePorts', error: 'is for the host network' })
  return findings
}

/** What is wrong with the ports of an app, each and among each other. */
export function checkPorts(app: AppFields): readonly Finding[] {
  const networks = app.networks.flatMap(({ name }) => (name === undefined ? [] : [name]))
  return [...checkTwice(appPorts(app)), ...appPorts(app).flatMap((port) => checkPort(port, networks))]
}

function checkTwice(ports: readonly AppPort[]): readonly Finding[] {
  const seen = new Set<string>()
  return ports.flatMap(numbersOf).flatMap(({ key, path, shown }) => {
    if (seen.has(key)) return [{ path, error: `${shown} is given twice` }]
    seen.add(key)
    return []
  })
}

/** What of a port may be used once in an app. */
function numbersOf(port: AppPort): readonly { readonly key: string; readonly path: string; readonly shown: string }[] {
  const { name, host, containerPort, path } = port
  const named = name === undefined ? [] : [{ key: `name ${name}`, path: `${path}/name`, shown: `"${name}"` }]
  const hostField = containerPort === undefined ? 'port' : 'hostPort'
  return [
    ...named,
    ...port.protocols.flatMap((protocol) => [
      ...(host.kind === 'exact'
        ? [{ key: `host ${protocol} ${host.port}`, path: `${path}/${hostField}`, shown: `${host.port}/${protocol}` }]
        : []),
      ...(containerPort !== undefined && containerPort !== 0
        ? [
            {
              key: `container ${protocol} ${containerPort}`,
              path: `${path}/containerPort`,
              shown: `${containerPort}/${protocol}`,
            },
          ]
        : []),
    ]),
  ]
}

function checkPort(port: AppPort, networks: readonly string[]): readonly Finding[] {
  const findings: Finding[] = []
  if (port.containerPort === 0 && port.host.kind === 'none') {
    findings.push({ path: `${port.path}/containerPort`, error: '0 means the host port, so it needs a hostPort' })
  }
  for (const [i, name] of port.networkNames.entries()) {
    if (networks.includes(name)) continue
    findings.push({ path: `${port.path}/networkNames(${i})`, error: `the app is not on network "${name}"` })
  }
  const path = `${port.path}/networkNames`
  if (networks.length > 1 && port.host.kind !== 'none' && port.networkNames.length !== 1) {
    findings.push({ path, error: 'with several networks a host port leads to one: name it' })
  } else if (port.networkNames.length > 1) {
    findings.push({ path, error: 'more than one is not supported yet' })
  }
  return findings
}
