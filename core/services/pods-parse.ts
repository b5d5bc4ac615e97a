import { type AppDefinition } from './app.ts'
import { type CheckContext } from './check.ts'
import { isObject, type JsonObject, withoutNulls } from '../scheduling/json.ts'
import { parseApp } from './parse-app.ts'
import { type PodFields, podSchema } from './pods-schema.ts'
import { type Finding, formatPath, groupProblems } from '../scheduling/problem.ts'
import { invalidApp, problemsOf } from './problem.ts'

/** Of the executor that runs a pod's containers, beside theirs. Source: marathon, docs/pods.md, "Executor Resources". */
export const podOverhead = { cpus: 0.1, mem: 32 } as const

/** Fields that a pod has in common with an app, and their names there. */
const shared = ['id', 'labels', 'networks', 'secrets'] as const
const own = ['containers', 'volumes', 'environment', 'user'] as const
const answers = ['version', 'executorResources', 'linuxInfo', 'role'] as const

/**
 * A pod as an app: one instance is one group of tasks, and takes what all containers take. So planning, placing, rolling
 * updates, groups and VIPs are those of apps. @throws ERR_SERVICES_INVALID with paths of the pod
 */
export function parsePod(body: unknown, context: CheckContext): AppDefinition {
  const value = withoutNulls(body)
  if (!isObject(value)) throw invalidApp([{ path: '/', errors: ['must be a JSON object'] }])
  const parsed = podSchema.safeParse(pick(value, own))
  const found = [...unknownFields(value), ...scalingFindings(value)]
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : undefined
      if (keys === undefined) found.push({ path: formatPath(issue.path), error: issue.message })
      for (const key of keys ?? []) {
        found.push({ path: formatPath([...issue.path, key]), error: 'is not a field that exists here' })
      }
    }
    throw invalidApp(groupProblems(found))
  }
  found.push(...checkPod(parsed.data), ...roleFindings(value), ...secretFindings(value, parsed.data))
  if (found.length > 0) throw invalidApp(groupProblems(found))
  return withPod(value, parsed.data, context)
}

function withPod(value: JsonObject, pod: PodFields, context: CheckContext): AppDefinition {
  const places = endpointPlaces(pod)
  try {
    return { ...parseApp(appBody(value, pod), context), pod }
  } catch (error) {
    const problems = problemsOf(error)
    if (problems.length === 0) throw error
    throw invalidApp(problems.map(({ path, errors }) => ({ path: podPath(path, places), errors })))
  }
}

function pick(value: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => names.includes(name)))
}

function unknownFields(value: JsonObject): Finding[] {
  const known: readonly string[] = [...shared, ...own, ...answers, 'scaling', 'scheduling']
  return Object.keys(value)
    .filter((name) => !known.includes(name))
    .map((name) => ({ path: `/${name}`, error: 'is not a field that exists here' }))
}

function scalingFindings({ scaling }: JsonObject): readonly Finding[] {
  if (scaling === undefined) return []
  if (!isObject(scaling)) return [{ path: '/scaling', error: 'must be {"kind": "fixed", "instances": n}' }]
  return scaling['kind'] === undefined || scaling['kind'] === 'fixed'
    ? []
    : [{ path: '/scaling/kind', error: 'only "fixed" is possible' }]
}

function secretFindings({ secrets }: JsonObject, { environment, containers }: PodFields): readonly Finding[] {
  const known = isObject(secrets) ? secrets : {}
  const places = [
    { path: '/environment', variables: environment },
    ...containers.map((one, i) => ({ path: `/containers(${i})/environment`, variables: one.environment })),
  ]
  return places.flatMap(({ path, variables }) =>
    Object.entries(variables).flatMap(([name, value]) => {
      if (typeof value === 'string' || Object.hasOwn(known, value.secret)) return []
      return [{ path: `${path}/${name}/secret`, error: `there is no secret "${value.secret}" in the pod's secrets` }]
    }),
  )
}

/** Its executor, which has resources of its own, can't take reserved ones. */
function roleFindings({ scheduling }: JsonObject): readonly Finding[] {
  const placement = isObject(scheduling) ? scheduling['placement'] : undefined
  const roles: unknown = isObject(placement) ? placement['acceptedResourceRoles'] : undefined
  if (!Array.isArray(roles) || roles.every((role) => role === '*')) return []
  return [{ path: '/scheduling/placement/acceptedResourceRoles', error: 'only "*" is possible for pods' }]
}

function checkPod({ containers, volumes }: PodFields): readonly Finding[] {
  const endpoints = new Set(containers.flatMap((container) => container.endpoints.map(({ name }) => name)))
  const known = new Set(volumes.map(({ name }) => name))
  return containers.flatMap(({ name, healthCheck, volumeMounts }, i) => {
    const at = `/containers(${i})`
    const findings: Finding[] = []
    if (containers.findIndex((other) => other.name === name) < i) {
      findings.push({ path: `${at}/name`, error: `"${name}" is given twice` })
    }
    const kinds = [healthCheck?.http, healthCheck?.tcp, healthCheck?.exec].filter((kind) => kind !== undefined)
    if (healthCheck !== undefined && kinds.length !== 1) {
      findings.push({ path: `${at}/healthCheck`, error: 'give one of http, tcp and exec' })
    }
    for (const kind of ['http', 'tcp'] as const) {
      const asked = healthCheck?.[kind]?.endpoint
      if (asked === undefined || endpoints.has(asked)) continue
      findings.push({ path: `${at}/healthCheck/${kind}/endpoint`, error: `there is no endpoint "${asked}"` })
    }
    for (const [j, mount] of volumeMounts.entries()) {
      if (known.has(mount.name)) continue
      findings.push({ path: `${at}/volumeMounts(${j})/name`, error: `there is no volume "${mount.name}"` })
    }
    return findings
  })
}

/** The pod's common part in an app's words. */
function appBody(value: JsonObject, pod: PodFields): JsonObject {
  const { scaling, scheduling, networks } = value
  const part = (object: unknown, name: string): unknown => (isObject(object) ? object[name] : undefined)
  const backoff = part(scheduling, 'backoff')
  const placement = part(scheduling, 'placement')
  const roles = part(placement, 'acceptedResourceRoles')
  const isHost = !Array.isArray(networks) || networks.every((network) => part(network, 'mode') === 'host')
  const sum = (key: 'cpus' | 'mem' | 'disk') =>
    pod.containers.reduce((total, { resources }) => total + resources[key], 0)
  return withoutUndefined({
    ...pick(value, shared),
    cmd: 'pod',
    instances: part(scaling, 'instances'),
    cpus: sum('cpus') + podOverhead.cpus,
    mem: sum('mem') + podOverhead.mem,
    disk: sum('disk'),
    backoffSeconds: part(backoff, 'backoff'),
    backoffFactor: part(backoff, 'backoffFactor'),
    maxLaunchDelaySeconds: part(backoff, 'maxLaunchDelay'),
    upgradeStrategy: part(scheduling, 'upgrade'),
    killSelection: part(scheduling, 'killSelection'),
    unreachableStrategy: part(scheduling, 'unreachableStrategy'),
    constraints: constraintsOf(part(placement, 'constraints')),
    acceptedResourceRoles: Array.isArray(roles) && roles.length === 0 ? undefined : roles,
    ...(isHost
      ? { requirePorts: true, portDefinitions: hostPorts(pod) }
      : { container: { portMappings: mappings(pod) } }),
  })
}

function withoutUndefined(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined))
}

/** A pod writes `{fieldName, operator, value}`. */
function constraintsOf(constraints: unknown): unknown {
  if (!Array.isArray(constraints)) return constraints
  return constraints.map((one: unknown) =>
    isObject(one) ? [one['fieldName'], one['operator'], one['value']].filter((part) => part !== undefined) : one,
  )
}

type Endpoint = PodFields['containers'][number]['endpoints'][number]

function transport({ protocol }: Endpoint): 'tcp' | 'udp' | 'tcp,udp' {
  const isUdp = protocol.includes('udp')
  return isUdp && protocol.some((one) => one !== 'udp') ? 'tcp,udp' : isUdp ? 'udp' : 'tcp'
}

function hostPorts({ containers }: PodFields): readonly unknown[] {
  return containers.flatMap(({ endpoints }) =>
    endpoints.map((one) => ({ port: one.hostPort ?? 0, name: one.name, protocol: transport(one), labels: one.labels })),
  )
}

function mappings({ containers }: PodFields): readonly unknown[] {
  return containers.flatMap(({ endpoints }) =>
    endpoints.map((one) => {
      const { name, labels, containerPort = 0, hostPort } = one
      return { name, labels, containerPort, protocol: transport(one), ...(hostPort === undefined ? {} : { hostPort }) }
    }),
  )
}

function endpointPlaces({ containers }: PodFields): readonly string[] {
  return containers.flatMap(({ endpoints }, i) => endpoints.map((_, j) => `/containers(${i})/endpoints(${j})`))
}

/** Where a problem of the app stands in the pod. */
function podPath(path: string, places: readonly string[]): string {
  const port = /^\/(?:container\/portMappings|portDefinitions)\((\d+)\)(?:\/port$)?/.exec(path)
  if (port !== null) {
    const rest = path.slice(port[0].length)
    return `${places[Number(port[1])] ?? '/containers'}${path.endsWith('/port') ? '/hostPort' : rest}`
  }
  const renamed: Readonly<Record<string, string>> = {
    '/instances': '/scaling/instances',
    '/backoffSeconds': '/scheduling/backoff/backoff',
    '/backoffFactor': '/scheduling/backoff/backoffFactor',
    '/maxLaunchDelaySeconds': '/scheduling/backoff/maxLaunchDelay',
  }
  if (renamed[path] !== undefined) return renamed[path]
  return path
    .replace(/^\/upgradeStrategy/, '/scheduling/upgrade')
    .replace(/^\/(killSelection|unreachableStrategy)/, '/scheduling/$1')
    .replace(/^\/(constraints|acceptedResourceRoles)/, '/scheduling/placement/$1')
}
