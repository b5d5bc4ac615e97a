import { type Finding } from '../scheduling/problem.ts'
import { type AppFields } from './schema.ts'

/** What is wrong with the networks of an app. `known`: those that the cluster has. */
export function checkNetworks(app: AppFields, known: ReadonlySet<string>): readonly Finding[] {
  const modes = new Set(app.networks.map(({ mode }) => mode))
  const findings: Finding[] = []
  if (modes.size > 1) findings.push({ path: '/networks', error: 'modes cannot be mixed' })
  if (modes.has('host') && modes.size === 1 && app.networks.length > 1) {
    findings.push({ path: '/networks', error: 'host mode can be given once only' })
  }
  return [...findings, ...app.networks.flatMap((_, i) => checkNetwork(app.networks, i, known))]
}

function checkNetwork(networks: AppFields['networks'], i: number, known: ReadonlySet<string>): readonly Finding[] {
  const { mode, name } = networks[i] ?? {}
  const path = `/networks(${i})`
  if (mode === 'container/bridge') {
    return [{ path: `${path}/mode`, error: 'is not supported yet: use mode "container" and a network name' }]
  }
  if (mode === 'host') return name === undefined ? [] : [{ path: `${path}/name`, error: 'host mode has no name' }]
  const error = nameProblem(name, networks.slice(0, i), known)
  return error === undefined ? [] : [{ path: `${path}/name`, error }]
}

function nameProblem(
  name: string | undefined,
  before: AppFields['networks'],
  known: ReadonlySet<string>,
): string | undefined {
  if (name === undefined) return 'give the name of a network'
  if (before.some((other) => other.name === name)) return `"${name}" is given twice`
  if (known.has(name)) return undefined
  return `there is no network "${name}"; there are: ${[...known].toSorted().join(', ')}`
}
