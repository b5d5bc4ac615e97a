import { errorMessage } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { shareOf } from '../../model/reservation.ts'
import { type AgentEntry, type MasterContext } from '../context.ts'
import { answerPending } from '../frameworks/reconcile.ts'
import { type AgentRecord } from '../registry/state.ts'
import { judge } from '../tasks/tasks.ts'
import { decideUnreachable } from './admit.ts'
import { stepAgent } from './state.ts'

/** Enters an agent that an earlier master knew. Its tasks count as running until it is back or unreachable. */
export function recoverAgent(context: MasterContext, record: AgentRecord): void {
  const isLost = record.unreachableSinceMs !== undefined
  const entry: AgentEntry = {
    record,
    state: isLost ? { kind: 'unreachable' } : { kind: 'recovered', missedPings: 0 },
    link: undefined,
    cancelPing: () => undefined,
  }
  context.agents.set(record.id, entry)
  if (isLost) return
  context.allocator.setAgent(record.id, shareOf(record.total, record.reserved))
  schedulePing(context, entry)
}

/** Pings the agent each interval, and counts: a missing answer, and no connection, are the same. */
export function schedulePing(context: MasterContext, entry: AgentEntry): void {
  entry.cancelPing()
  entry.cancelPing = context.clock.after(context.pingIntervalMs, () => {
    const next = stepAgent(entry.state, { kind: 'ping-due' })
    if (next.kind === 'unreachable') {
      void giveUp(context, entry)
      return
    }
    entry.state = next
    entry.link?.send({ kind: 'ping' })
    schedulePing(context, entry)
  })
}

/** Written first; a store that can't write delays it to the next interval. */
async function giveUp(context: MasterContext, entry: AgentEntry): Promise<void> {
  const { registrar, clock, counters, log } = context
  const { id, nodeName } = entry.record
  const { link: before, state } = entry
  try {
    await registrar.apply(decideUnreachable(id, clock.nowMs()))
  } catch (error) {
    counters.storeFailures++
    log.error({ agentId: id, reason: errorMessage(error) }, 'unreachable agent could not be written, trying again')
    schedulePing(context, entry)
    return
  }
  const isSame = entry.link === before && entry.state === state && context.agents.get(id) === entry
  if (!isSame) return // it came back, or was replaced, meanwhile
  entry.state = { kind: 'unreachable' }
  entry.link = undefined
  before?.close()
  counters.unreachable++
  log.warn({ agentId: id, node: nodeName }, 'agent is unreachable')
  loseTasks(context, entry)
  context.changes.tell({ kind: 'agent', agentId: id, what: 'removed' })
  answerPending(context)
}

/** Its tasks leave the snapshot; they come back with it. */
function loseTasks(context: MasterContext, { record }: AgentEntry): void {
  const { id } = record
  const message = `agent ${id} on node ${record.nodeName} does not answer`
  const verdict = { reason: 'REASON_AGENT_REMOVED', message, timestampMs: context.clock.nowMs() }
  context.offers.rescindOfAgent(id)
  for (const task of context.tasks.ofAgent(id)) judge(context, task, { state: 'TASK_UNREACHABLE', ...verdict })
  context.allocator.removeAgent(id)
  for (const framework of context.frameworks.values()) framework.deliver?.({ kind: 'failure', agentId: id })
}

/** Ends an agent for good: another one took its place, its node was removed, or an operator gave it up. Its tasks are gone with it. */
export function forgetAgent(context: MasterContext, id: AgentId, why: 'replaced' | 'removed' | 'gone'): void {
  const entry = context.agents.get(id)
  if (entry === undefined) return
  entry.cancelPing()
  entry.cancelHold?.()
  entry.link?.close()
  entry.link = undefined
  context.offers.rescindOfAgent(id)
  const message = `agent ${id} was ${why}`
  const verdict = { reason: 'REASON_AGENT_REMOVED', message, timestampMs: context.clock.nowMs() }
  const state = why === 'gone' ? 'TASK_GONE_BY_OPERATOR' : 'TASK_GONE'
  for (const task of context.tasks.ofAgent(id)) judge(context, task, { state, ...verdict })
  context.allocator.removeAgent(id)
  context.agents.delete(id)
  context.changes.tell({ kind: 'agent', agentId: id, what: 'removed' })
  for (const framework of context.frameworks.values()) framework.deliver?.({ kind: 'failure', agentId: id })
  answerPending(context)
  context.log.info({ agentId: id, why }, 'agent removed')
}
