import { errorMessage } from '../../../base/errors.ts'
import { parseFrameworkId } from '../../../model/ids.ts'
import { anyRole, parseRole } from '../../../model/role.ts'
import { type FrameworkInfo } from '../../../model/scheduler.ts'
import { parseLabels } from '../../../api/mesos/parse-labels.ts'
import { readId } from '../../../api/mesos/problem.ts'
import { type frameworkWire, type Wire } from '../../../api/mesos/wire.ts'

type FrameworkWire = Wire<typeof frameworkWire>

/** FrameworkInfo, not judged yet. @throws ERR_SCHEDULER_MALFORMED */
export function parseFramework(wire: FrameworkWire, path: string): FrameworkInfo {
  const { id, user, name, hostname, principal, checkpoint, webui_url: webuiUrl } = wire
  const capabilities = wire.capabilities.flatMap(({ type }) => (type === undefined ? [] : [type]))
  const labels = parseLabels(wire.labels)
  return {
    ...(id && id.value !== '' ? { id: readId(parseFrameworkId, id, `${path}.id`) } : {}),
    ...{ user, name, hostname, capabilities },
    roles: capabilities.includes('MULTI_ROLE') ? wire.roles : [wire.role ?? anyRole],
    failoverTimeoutMs: Math.round(wire.failover_timeout * 1_000),
    ...(principal === undefined ? {} : { principal }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(webuiUrl === undefined ? {} : { webuiUrl }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
  }
}

/**
 * Why a framework can't be let in; undefined: it can. The answer goes to it as an ERROR event.
 * Source: mesos, src/master/validation.cpp, framework::validate; src/common/roles.cpp.
 */
export function frameworkProblem(wire: FrameworkWire, suppressed: readonly string[]): string | undefined {
  const isMultiRole = wire.capabilities.some(({ type }) => type === 'MULTI_ROLE')
  if (isMultiRole && wire.role !== undefined) {
    return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
  }
  if (!isMultiRole && wire.roles.length > 0) {
    return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
  }
  const roles = isMultiRole ? wire.roles : [wire.role ?? anyRole]
  if (new Set(roles).size !== roles.length) return "'FrameworkInfo.roles' contains duplicate items"
  const foreign = suppressed.find((role) => !roles.includes(role))
  if (foreign !== undefined) return `Suppressed role '${foreign}' is not contained in the list of roles`
  const { failover_timeout: seconds } = wire
  // A hundred years: longer ones can't be counted in milliseconds exactly, and mean nothing.
  if (seconds < 0 || seconds > 3_155_760_000) return `The framework failover_timeout (${seconds}) is invalid`
  return roles.map(roleProblem).find((problem) => problem !== undefined)
}

function roleProblem(role: string): string | undefined {
  try {
    parseRole(role)
    return undefined
  } catch (error) {
    return errorMessage(error) // ERR_MODEL_ROLE
  }
}
