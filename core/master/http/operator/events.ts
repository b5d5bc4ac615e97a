import { formatStatus } from '../../../api/mesos/format-status.ts'
import { type MasterChange } from '../../changes.ts'
import { type MasterContext } from '../../context.ts'
import { frameworkUse } from '../state/format-framework.ts'
import { type About } from '../state/view.ts'
import { formatFramework, formatFrameworkInfo, formatTask } from './format.ts'
import { agentOf } from './snapshot.ts'

/** A change as the operator's event stream has it; undefined: it has none. Source: mesos, v1/master/master.proto, Event. */
export function formatChange(context: MasterContext, about: About, change: MasterChange): object | undefined {
  switch (change.kind) {
    case 'task':
      return taskEvent(change)
    case 'agent':
      return agentEvent(context, about, change)
    case 'framework':
      return frameworkEvent(context, change)
  }
}

function taskEvent({ before, after }: Extract<MasterChange, { readonly kind: 'task' }>): object | undefined {
  if (after === undefined) return undefined // its end was told
  if (before === undefined) return event('TASK_ADDED', { task: formatTask(after) })
  if (before.status === after.status) return undefined
  const { status, frameworkId, info } = after
  return event('TASK_UPDATED', {
    framework_id: { value: frameworkId },
    status: formatStatus(status, info.agentId),
    state: status.state,
  })
}

function agentEvent(
  context: MasterContext,
  about: About,
  { agentId, what }: Extract<MasterChange, { readonly kind: 'agent' }>,
): object | undefined {
  if (what === 'removed') return event('AGENT_REMOVED', { agent_id: { value: agentId } })
  const entry = context.agents.get(agentId)
  if (entry === undefined) return undefined
  const agent = agentOf({ context, about, offeredOn: new Map() }, entry)
  return event(what === 'added' ? 'AGENT_ADDED' : 'AGENT_UPDATED', { agent })
}

function frameworkEvent(
  { frameworks }: MasterContext,
  { frameworkId, what }: Extract<MasterChange, { readonly kind: 'framework' }>,
): object | undefined {
  const entry = frameworks.get(frameworkId)
  if (entry === undefined) return undefined
  if (what === 'removed') return event('FRAMEWORK_REMOVED', { framework_info: formatFrameworkInfo(entry) })
  const framework = formatFramework(entry, frameworkUse())
  return event(what === 'added' ? 'FRAMEWORK_ADDED' : 'FRAMEWORK_UPDATED', { framework })
}

function event(type: string, body: object): object {
  return { type, [type.toLowerCase()]: body }
}
