import { type Instance } from './instance.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { formatVersion } from './version.ts'

/** Source: marathon, core/condition/Condition.scala, as far as an instance here can be in it. */
export type Condition =
  | 'Scheduled'
  | 'Staging'
  | 'Starting'
  | 'Running'
  | 'Killing'
  | 'Unreachable'
  | 'Unknown'
  | 'Failed'
  | 'Gone'
  | 'Killed'

const outcomes = { failed: 'Failed', lost: 'Gone', stopped: 'Killed' } as const

/** An instance's state in Marathon's words. */
export function conditionOf({ phase }: Pick<Instance, 'phase'>): Condition {
  switch (phase.kind) {
    case 'staged':
      return phase.state === 'TASK_STARTING' ? 'Starting' : 'Staging'
    case 'running':
      return 'Running'
    case 'killing':
      return 'Killing'
    case 'unreachable':
      return 'Unreachable'
    case 'recovered':
      return 'Unknown'
    case 'ended':
      return outcomes[phase.outcome]
  }
}

/** Marathon names an instance by its task: `shop_web.instance-<uuid>`. */
export function instanceIdOf({ id }: Pick<Instance, 'id'>): string {
  const dot = id.lastIndexOf('.')
  return `${id.slice(0, dot)}.instance-${id.slice(dot + 1)}`
}

/** An event of /v2/events, before it has a time. */
export interface Told {
  readonly type: string
  readonly fields: JsonObject
}

/**
 * What is told of an instance that went from one state to another: instance_changed_event when its condition changed,
 * instance_health_changed_event (and, for clients of Marathon before 1.4, health_status_changed_event) when its health did.
 * Source: marathon, core/event/Events.scala.
 */
export function instanceEvents(before: Instance | undefined, after: Instance): readonly Told[] {
  const told: Told[] = []
  const { appId, agentId, place, configVersion } = after
  const runSpecVersion = formatVersion(configVersion)
  const instanceId = instanceIdOf(after)
  const condition = conditionOf(after)
  if (before === undefined || conditionOf(before) !== condition) {
    const where = { agentId, host: place.hostname }
    told.push({
      type: 'instance_changed_event',
      fields: { instanceId, condition, runSpecId: appId, ...where, runSpecVersion },
    })
  }
  const healthy = healthOf(after)
  if (healthy !== undefined && (before === undefined || healthOf(before) !== healthy)) {
    const fields = { instanceId, runSpecId: appId, runSpecVersion, healthy }
    told.push({ type: 'instance_health_changed_event', fields })
    const old = { appId, instanceId, version: runSpecVersion, alive: healthy }
    told.push({ type: 'health_status_changed_event', fields: old })
  }
  return told
}

function healthOf({ phase }: Instance): boolean | undefined {
  if (phase.kind !== 'running' || (phase.health !== 'healthy' && phase.health !== 'unhealthy')) return undefined
  return phase.health === 'healthy'
}
