import { checkNetworks } from './check-networks.ts'
import { checkContainer } from './container.ts'
import { checkPortPlaces, checkPorts } from './check-ports.ts'
import { constraintProblem } from '../scheduling/constraints.ts'
import { type VipSpec } from '../model/vip.ts'
import { type AppId } from './ids.ts'
import { appPorts } from './ports.ts'
import { checkResidency } from './residency.ts'
import { type Finding } from '../scheduling/problem.ts'
import { type AppFields, type HealthCheckDefinition } from './schema.ts'
import { formatVipTerms, type VipUse, vipUses } from './vip-use.ts'

/** What the rest of the cluster says on an app. */
export interface CheckContext {
  readonly networkNames: ReadonlySet<string>
  /** Another app that uses the VIP with other protocols. */
  vipConflict(app: AppId, use: VipUse): AppId | undefined
  /** Why the cluster has no such VIP for an app: its address is used otherwise, or none is left. Absent: not asked. */
  readonly vipProblem?: (vip: VipSpec) => string | undefined
  /** The app that is at one of the new one's groups, or below the new one. */
  pathConflict(app: AppId): AppId | undefined
  /** What the framework is offered in; absent: `*`. */
  readonly role?: string
}

/** What is wrong across the fields of an app whose single fields are right. */
export function checkApp(app: AppFields, id: AppId, context: CheckContext): readonly Finding[] {
  return [
    ...checkPath(id, context),
    ...checkCommand(app),
    ...checkRoles(app, context.role ?? '*'),
    ...checkResidency(app, context.role ?? '*'),
    ...checkNetworks(app, context.networkNames),
    ...checkPortPlaces(app),
    ...checkPorts(app),
    ...checkVips(app, id, context),
    ...checkHealth(app),
    ...checkSecrets(app),
    ...checkContainer(app),
    ...checkUnreachable(app),
    ...app.constraints.flatMap((constraint, i) => finding(`/constraints(${i})`, constraintProblem(constraint))),
  ]
}

function finding(path: string, error: string | undefined): readonly Finding[] {
  return error === undefined ? [] : [{ path, error }]
}

function checkPath(id: AppId, context: CheckContext): readonly Finding[] {
  const other = context.pathConflict(id)
  return finding('/id', other === undefined ? undefined : `an app and a group cannot have one path: ${other} exists`)
}

function checkCommand(app: AppFields): readonly Finding[] {
  const image = app.container?.docker
  // An image says itself what to run.
  if (app.cmd === undefined && app.args === undefined && image === undefined)
    return finding('/cmd', 'give cmd or args: what to run')
  if (app.cmd !== undefined && app.args !== undefined) return finding('/args', 'give cmd or args, not both')
  return []
}

function checkRoles({ acceptedResourceRoles: roles }: AppFields, own: string): readonly Finding[] {
  if (new Set(roles).size < roles.length) return finding('/acceptedResourceRoles', 'has a role twice')
  const other = roles.findIndex((role) => role !== '*' && role !== own)
  const possible = own === '*' ? 'only "*"' : `only "*" and "${own}", the role of the services,`
  return finding(`/acceptedResourceRoles(${other})`, other < 0 ? undefined : `${possible} can be accepted`)
}

function checkSecrets({ env, secrets }: AppFields): readonly Finding[] {
  return Object.entries(env).flatMap(([name, value]) => {
    if (typeof value === 'string' || Object.hasOwn(secrets, value.secret)) return []
    return [{ path: `/env(${name})/secret`, error: `there is no secret "${value.secret}" in the app's secrets` }]
  })
}

function checkUnreachable({ unreachableStrategy: strategy }: AppFields): readonly Finding[] {
  const path = '/unreachableStrategy/expungeAfterSeconds'
  const isLess = strategy !== 'disabled' && strategy.expungeAfterSeconds < strategy.inactiveAfterSeconds
  return finding(path, isLess ? 'must not be less than inactiveAfterSeconds' : undefined)
}

function checkVips(app: AppFields, id: AppId, context: CheckContext): readonly Finding[] {
  const { uses, malformed } = vipUses(app)
  const findings: Finding[] = [...malformed]
  const terms = new Map<string, string>()
  for (const use of uses) {
    const mine = formatVipTerms(use)
    const earlier = terms.get(use.vip)
    const other = context.vipConflict(id, use)
    if (earlier !== undefined && earlier !== mine) {
      findings.push({ path: use.path, error: `VIP ${use.vip} is used with ${earlier} and with ${mine} in this app` })
    } else if (other !== undefined) {
      findings.push({ path: use.path, error: `VIP ${use.vip} is used otherwise than with ${mine} by ${other}` })
    }
    terms.set(use.vip, mine)
    const problem = context.vipProblem?.(use.spec)
    if (problem !== undefined) findings.push({ path: use.path, error: problem })
  }
  return findings
}

function checkHealth(app: AppFields): readonly Finding[] {
  const more =
    app.healthChecks.length > 1 ? [{ path: '/healthChecks(1)', error: 'more than one is not supported yet' }] : []
  const ports = appPorts(app).length
  return [...more, ...app.healthChecks.flatMap((check, i) => checkProbe(check, `/healthChecks(${i})`, ports))]
}

function checkProbe(check: HealthCheckDefinition, path: string, ports: number): readonly Finding[] {
  const isCommand = check.protocol === 'COMMAND'
  const given = (['path', 'port', 'portIndex', 'command'] as const).filter((field) => check[field] !== undefined)
  const foreign = given.filter((field) => {
    if (field === 'command') return !isCommand
    return isCommand || (field === 'path' && check.protocol.endsWith('TCP'))
  })
  const findings = foreign.map((field) => ({ path: `${path}/${field}`, error: `does not go with ${check.protocol}` }))
  if (isCommand) {
    if (check.command === undefined) findings.push({ path: `${path}/command`, error: 'give the command to run' })
    return findings
  }
  if (check.port !== undefined && check.portIndex !== undefined) {
    findings.push({ path: `${path}/portIndex`, error: 'give port or portIndex, not both' })
  } else if (check.port === undefined && (check.portIndex ?? 0) >= ports) {
    const error = ports === 0 ? 'the app has no ports: give port' : `the app has ${ports} ports, counted from 0`
    findings.push({ path: `${path}/portIndex`, error })
  }
  return findings
}
