import { type HealthCheck, type HealthProbe } from '../../../model/task.ts'
import { refuseFields, unsupported } from '../../../api/mesos/problem.ts'
import { type healthCheckWire, type Wire } from '../../../api/mesos/wire.ts'

type HealthCheckWire = Wire<typeof healthCheckWire>

/**
 * HealthCheck. Mesos's delay before the first check has no counterpart: failures count for nothing until both the delay and
 * the grace period are over, which comes to the same for the task.
 * @throws ERR_SCHEDULER_UNSUPPORTED with the path of the field below `path`
 */
export function parseHealthCheck(wire: HealthCheckWire, path: string): HealthCheck {
  return {
    probe: parseProbe(wire, path),
    gracePeriodMs: toMs(Math.max(wire.delay_seconds, wire.grace_period_seconds)),
    intervalMs: toMs(wire.interval_seconds),
    timeoutMs: toMs(wire.timeout_seconds),
    maxConsecutiveFailures: wire.consecutive_failures,
  }
}

/** The kind may be left out, as in Mesos before 1.2: then the member that is there says it. */
function parseProbe({ type, http, tcp, command }: HealthCheckWire, path: string): HealthProbe {
  const kind = type === undefined || type === 'UNKNOWN' ? undefined : type
  if (http !== undefined && (kind ?? 'HTTP') === 'HTTP') {
    const { scheme = 'http', port } = http
    refuseFields(http, `${path}.http`, ['statuses'])
    if (scheme !== 'http' && scheme !== 'https') throw unsupported(`${path}.http.scheme`, 'http and https are possible')
    return { kind: 'http', scheme, port, path: http.path }
  }
  if (tcp !== undefined && (kind ?? 'TCP') === 'TCP') return { kind: 'tcp', port: tcp.port }
  if (command !== undefined && (kind ?? 'COMMAND') === 'COMMAND') {
    if (!command.shell) throw unsupported(`${path}.command.shell`, 'health is asked by the shell: set it to true')
    refuseFields(command, `${path}.command`, ['environment', 'uris', 'user'])
    return { kind: 'command', command: command.value }
  }
  throw unsupported(path, 'says neither http nor tcp nor command')
}

function toMs(seconds: number): number {
  return Math.min(Math.round(seconds * 1_000), 2 ** 32 - 1)
}
