import { errorMessage } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { isTerminal } from '../../model/task.ts'
import { type AgentEntry, type MasterContext } from '../context.ts'
import { type AgentRecord, type Decide, type DrainRecord } from '../registry/state.ts'
import { type MasterTask } from '../tasks/state.ts'
import { killTask } from '../tasks/tasks.ts'
import { decideDeactivate, decideDrain, decideDrained, decideGone, decideReactivate, lifeOf } from './decide-life.ts'
import { forgetAgent } from './liveness.ts'

/** A store that could not note that an agent is empty is asked again after this. */
const retryMs = 1_000

/** How an agent is to be emptied. */
export type DrainWish = Pick<DrainRecord, 'maxGraceMs' | 'afterwards'>

/**
 * Empties an agent: nothing is offered there, its tasks are killed, and when the last one has ended it is `drained`, or gone.
 * Durable when it resolves; a new master goes on with it. Source: mesos, DRAIN_AGENT.
 * @throws ERR_MASTER_AGENT_UNKNOWN, ERR_MASTER_AGENT_GONE, what the store throws
 */
export async function drainAgent(context: MasterContext, id: AgentId, wish: DrainWish): Promise<void> {
  const entry = await change(context, id, decideDrain(id, { ...wish, sinceMs: context.clock.nowMs() }))
  if (entry !== undefined) goOnDraining(context, entry)
}

/** Offers nothing on an agent; its tasks go on. @throws as {@link drainAgent} */
export async function deactivateAgent(context: MasterContext, id: AgentId): Promise<void> {
  await change(context, id, decideDeactivate(id))
}

/** Offers it again. @throws ERR_MASTER_AGENT_DRAINING, and as {@link drainAgent} */
export async function reactivateAgent(context: MasterContext, id: AgentId): Promise<void> {
  await change(context, id, decideReactivate(id))
  context.offers.schedule([id])
}

/**
 * Gives an agent up for ever: its tasks are GONE_BY_OPERATOR; if it is there, or comes, it is told to end them and refused.
 * @throws ERR_MASTER_AGENT_UNKNOWN, what the store throws
 */
export async function markAgentGone(context: MasterContext, id: AgentId): Promise<void> {
  await context.registrar.apply(decideGone(id, context.clock.nowMs()))
  const link = context.agents.get(id)?.link
  for (const { info } of context.tasks.ofAgent(id)) {
    link?.send({ kind: 'kill', taskId: info.taskId, graceMs: info.killGraceMs })
  }
  link?.send({ kind: 'refused', code: 'ERR_MASTER_AGENT_GONE', reason: 'an operator marked this agent as gone' })
  forgetAgent(context, id, 'gone')
}

async function change(context: MasterContext, id: AgentId, decide: Decide): Promise<AgentEntry | undefined> {
  const { registrar, agents, offers, changes, log } = context
  await registrar.apply(decide)
  const entry = agents.get(id)
  const record = registrar.state.agents.get(id)
  if (entry === undefined || record === undefined) return undefined
  entry.record = record
  if (lifeOf(record) !== 'active') offers.rescindOfAgent(id)
  offerAgent(context, entry)
  changes.tell({ kind: 'agent', agentId: id, what: 'updated' })
  log.info({ agentId: id, node: record.nodeName, life: lifeOf(record) }, 'agent changed by an operator')
  return entry
}

/** Lets the allocator offer an agent that is connected and wanted, and no other. */
export function offerAgent({ allocator }: MasterContext, { record, link }: AgentEntry): void {
  const offered = link !== undefined && lifeOf(record) === 'active'
  allocator.setAgentActive(record.id, offered ? 'active' : 'inactive')
}

/**
 * Kills what still runs on an agent that is being emptied: when an operator asks, each time that the agent comes back, and
 * when the time is over that tasks were left to a framework that moves them.
 */
export function goOnDraining(context: MasterContext, entry: AgentEntry): void {
  entry.cancelHold?.()
  const { record } = entry
  if (lifeOf(record) !== 'draining') return
  const { maxGraceMs = Number.POSITIVE_INFINITY } = record.drain ?? {}
  let longestMs = 0
  for (const task of context.tasks.ofAgent(record.id)) {
    if (isTerminal(task.status.state)) continue
    const leftMs = holdLeftMs(context, record, task)
    if (leftMs > 0) longestMs = Math.max(longestMs, leftMs)
    else killTask(context, task, Math.min(task.info.killGraceMs, maxGraceMs))
  }
  if (longestMs > 0) entry.cancelHold = context.clock.after(longestMs, () => goOnDraining(context, entry))
  void settleDrain(context, record.id)
}

/** An operator's maximum grace bounds this too: with 0 everything is killed at once. */
function holdLeftMs({ frameworks, clock }: MasterContext, { drain }: AgentRecord, task: MasterTask): number {
  const { sinceMs = 0, maxGraceMs = Number.POSITIVE_INFINITY } = drain ?? {}
  const holdMs = Math.min(frameworks.get(task.frameworkId)?.movesWithinMs ?? 0, maxGraceMs)
  return Math.min(holdMs, sinceMs + holdMs - clock.nowMs()) // at most holdMs: the wall clock may have jumped back
}

/** Looks after each end of a task whether its agent is empty now. @returns how to stop */
export function watchDrainedAgents(context: MasterContext): () => void {
  return context.changes.watch((told) => {
    if (told.kind === 'task' && told.after === undefined) void settleDrain(context, told.before?.info.agentId)
  })
}

/** Notes that an agent is empty. It is only when no update of its tasks waits for an acknowledgement. */
async function settleDrain(context: MasterContext, id: AgentId | undefined): Promise<void> {
  const entry = id === undefined ? undefined : context.agents.get(id)
  if (id === undefined || entry?.link === undefined || lifeOf(entry.record) !== 'draining') return
  if (context.tasks.ofAgent(id).length > 0) return
  try {
    await change(context, id, decideDrained(id))
    if (entry.record.drain?.afterwards === 'gone') await markAgentGone(context, id)
  } catch (error) {
    context.counters.storeFailures++
    context.log.warn(
      { agentId: id, reason: errorMessage(error) },
      'the end of a drain could not be written, trying again',
    )
    context.clock.after(retryMs, () => void settleDrain(context, id))
  }
}
