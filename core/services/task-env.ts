import { type TaskId } from '../model/ids.ts'
import { type AppRecord } from './app.ts'
import { type TaskPort } from './task.ts'
import { formatVersion } from './version.ts'

/** Labels with longer names or values are not made variables. Source: marathon, EnvironmentHelper. */
const maxVariableLength = 512
const labelPrefix = 'MARATHON_APP_LABEL_'

/** What decides a task's environment. */
export interface EnvironmentInput {
  readonly record: AppRecord
  readonly taskId: TaskId
  readonly hostname: string
  readonly ports: readonly TaskPort[]
}

/** Variables as Marathon gives them; the app's own come last and win. */
export function taskEnvironment({
  record,
  taskId,
  hostname,
  ports,
}: EnvironmentInput): Readonly<Record<string, string>> {
  const { definition } = record
  return {
    HOST: hostname,
    MESOS_TASK_ID: taskId,
    MARATHON_APP_ID: definition.id,
    MARATHON_APP_VERSION: formatVersion(record.configVersion),
    MARATHON_APP_RESOURCE_CPUS: String(definition.cpus),
    MARATHON_APP_RESOURCE_MEM: String(definition.mem),
    MARATHON_APP_RESOURCE_DISK: String(definition.disk),
    ...labelVariables(definition.labels),
    ...portVariables(ports),
    ...plainVariables(definition.env),
  }
}

type Variables = AppRecord['definition']['env']

/** Variables that are no secrets. */
export function plainVariables(env: Variables): Readonly<Record<string, string>> {
  const plain = Object.entries(env).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as const] : [],
  )
  return Object.fromEntries(plain)
}

/** Variables that are secrets, with the source of each: the scheduler never has their values. */
export function secretVariables(
  env: Variables,
  secrets: AppRecord['definition']['secrets'],
): Readonly<Record<string, string>> {
  const found = Object.entries(env).flatMap(([name, value]) => {
    const source = typeof value === 'string' ? undefined : secrets[value.secret]?.source
    return source === undefined ? [] : [[name, source] as const]
  })
  return Object.fromEntries(found)
}

function labelVariables(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const usable = Object.entries(labels)
    .filter(([key, value]) => key.length < maxVariableLength - labelPrefix.length && value.length < maxVariableLength)
    .map(([key, value]) => [key.replaceAll(/[^a-zA-Z0-9_]+/g, '_').toUpperCase(), value] as const)
  return {
    MARATHON_APP_LABELS: usable.map(([key]) => key).join(' '),
    ...Object.fromEntries(usable.map(([key, value]) => [`${labelPrefix}${key}`, value])),
  }
}

/** The effective port is the host's where there is one, else the container's. Source: marathon, EnvironmentHelper. */
function portVariables(ports: readonly TaskPort[]): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {}
  const effective = ports.map(({ hostPort, containerPort }) => String(hostPort ?? containerPort))
  for (const [i, { port }] of ports.entries()) {
    const number = effective[i] ?? ''
    variables[`PORT${i}`] = number
    variables[`PORT_${port.declared === 0 ? number : port.declared}`] = number
    if (port.name !== undefined) variables[`PORT_${port.name.replaceAll('-', '_').toUpperCase()}`] = number
  }
  const first = effective[0]
  return first === undefined ? {} : { PORT: first, PORTS: effective.join(','), ...variables }
}
