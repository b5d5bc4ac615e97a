import { type AgentReport, type Registration } from '../../api/messages.ts'
import { AppError } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { type Reservation, shareOf } from '../../model/reservation.ts'
import { type AgentEntry, type AgentLink, type MasterContext } from '../context.ts'
import { executorReport } from '../frameworks/executors.ts'
import { frameworkOfTask } from '../frameworks/lifecycle.ts'
import { answerPending } from '../frameworks/reconcile.ts'
import { type AgentRecord } from '../registry/state.ts'
import { reservationsKept, tellReservations } from '../reservations/run.ts'
import { agentUpdate, forward, frameworkName, healthChange, isBehindVip, judge, putTask } from '../tasks/tasks.ts'
import { decideAdmitAgent } from './admit.ts'
import { goneAgent } from './decide-life.ts'
import { forgetAgent, schedulePing } from './liveness.ts'
import { goOnDraining, offerAgent } from './operator.ts'
import { findReturned, mergeReturned } from './returning.ts'
import { stepAgent } from './state.ts'

/** What the transport does with an admitted agent. */
export interface AgentSessionHandle {
  report(report: AgentReport): void
  /** The transport lost the agent. */
  lost(): void
}

/**
 * Admits an agent over `link`; `registered` is sent before anything else.
 * @throws ERR_MASTER_TERM when the agent has obeyed a newer master; ERR_MASTER_AGENT_GONE; ERR_MASTER_NODE_NAME when another machine has its
 *   node's name; ERR_MASTER_SESSION when it left meanwhile; what decideAdmitAgent and the store throw
 */
export async function registerAgent(
  context: MasterContext,
  registration: Registration,
  link: AgentLink,
): Promise<AgentSessionHandle> {
  const { term, ids, registrar, profile, counters, log } = context
  if (registration.highestTerm > term) {
    throw new AppError(
      'ERR_MASTER_TERM',
      `the agent has seen term ${registration.highestTerm}, this master has ${term}`,
    )
  }
  refuseGone(context, registration, link)
  refuseNamesake(context, registration)
  const id = registration.agentId ?? ids.nextAgent()
  const { agents: changes } = await registrar.apply(decideAdmitAgent(profile, id, registration))
  for (const [other, record] of changes ?? []) if (record === undefined) forgetAgent(context, other, 'replaced')
  const record = registrar.state.agents.get(id)
  if (record === undefined) throw new AppError('ERR_MASTER_AGENT_REMOVED', `agent ${id} was removed meanwhile`)
  // A newer session of the same agent may be registered already: this one must not take its place.
  if (!link.isOpen()) throw new AppError('ERR_MASTER_SESSION', 'the agent left while it was being registered')
  counters.registrations++
  const isKnown = isCounted(context.agents.get(id))
  const entry = connect(context, record, link)
  link.send({ kind: 'registered', agentId: id, pingIntervalMs: context.pingIntervalMs })
  const { kept = [] } = registration
  if (!isSameList(kept, record.reserved ?? [])) tellReservations(context, id, kept)
  takeOverTasks(context, entry, registration)
  goOnDraining(context, entry)
  context.changes.tell({ kind: 'agent', agentId: id, what: isKnown ? 'updated' : 'added' })
  answerPending(context)
  context.offers.schedule([id])
  log.info({ agentId: id, node: record.nodeName, tasks: registration.tasks.length }, 'agent registered')
  return {
    report: (report) => {
      if (entry.link === link) handleReport(context, entry, report)
    },
    lost: () => {
      if (entry.link === link) disconnect(context, entry)
    },
  }
}

/** Its tasks were told to be gone: they must not go on. */
function refuseGone({ registrar }: MasterContext, { agentId, tasks }: Registration, link: AgentLink): void {
  if (agentId === undefined || !registrar.state.gone.has(agentId)) return
  for (const { info } of tasks) link.send({ kind: 'kill', taskId: info.taskId, graceMs: info.killGraceMs })
  throw goneAgent(agentId)
}

/** Two machines of one name would take each other's place again and again. */
function refuseNamesake({ agents, registrar }: MasterContext, { nodeName, underlay }: Registration): void {
  const known = registrar.state.nodes.get(nodeName)?.agentId
  const { record, link } = (known && agents.get(known)) ?? {}
  if (record === undefined || link === undefined || record.underlay === underlay) return
  const advice = 'give each machine its own --node-name'
  throw new AppError('ERR_MASTER_NODE_NAME', `node name "${nodeName}" is in use at ${record.underlay}: ${advice}`)
}

/** As text: both are written by the same code, in the same order. */
function isSameList(a: readonly Reservation[], b: readonly Reservation[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** One that is unreachable was told to have gone. */
function isCounted(entry: AgentEntry | undefined): boolean {
  return entry !== undefined && entry.state.kind !== 'unreachable'
}

function connect(context: MasterContext, record: AgentRecord, link: AgentLink): AgentEntry {
  const known = context.agents.get(record.id)
  const entry: AgentEntry = known ?? {
    record,
    state: { kind: 'recovered', missedPings: 0 },
    link: undefined,
    cancelPing: () => undefined,
  }
  const replaced = entry.link
  entry.record = record
  entry.link = link
  entry.registeredAtMs ??= context.clock.nowMs()
  entry.state = stepAgent(entry.state, { kind: 'registered' })
  context.agents.set(record.id, entry)
  replaced?.close()
  context.offers.rescindOfAgent(record.id)
  context.allocator.setAgent(record.id, shareOf(record.total, record.reserved))
  offerAgent(context, entry)
  schedulePing(context, entry)
  return entry
}

function takeOverTasks(context: MasterContext, { record, link }: AgentEntry, { tasks }: Registration): void {
  for (const finding of findReturned(context.tasks.ofAgent(record.id), tasks)) {
    if (finding.kind === 'missing') {
      const message = `agent ${record.id} came back without this task`
      const verdict = { reason: 'REASON_RECONCILIATION', message, timestampMs: context.clock.nowMs() }
      judge(context, finding.task, { state: finding.state, ...verdict })
      continue
    }
    const { info, frameworkId } = finding.agentTask
    const framework = frameworkOfTask(context, frameworkId)
    const before = context.tasks.get(info.taskId)
    const task = mergeReturned(before, finding.agentTask, before?.role ?? framework.info.roles[0] ?? '*')
    putTask(context, task)
    const graceMs = framework.state === 'removed' ? info.killGraceMs : task.killing?.graceMs
    // One that still drains is told when that is over.
    if (graceMs !== undefined && !context.drains.waits(info.taskId)) {
      // What an earlier leader decided the nodes may not know yet.
      if (isBehindVip(task)) context.drains.kill(info.taskId, graceMs)
      else link?.send({ kind: 'kill', taskId: info.taskId, graceMs })
    }
    if (finding.back === 'back') {
      const status = { ...task.status, source: 'MASTER', reason: 'REASON_AGENT_REREGISTERED' } as const
      forward(context, frameworkId, status, record.id)
    }
    context.log.debug({ taskId: info.taskId, framework: frameworkName(context, frameworkId) }, 'task taken over')
  }
}

function handleReport(context: MasterContext, entry: AgentEntry, report: AgentReport): void {
  const { id } = entry.record
  switch (report.kind) {
    case 'update':
      agentUpdate(context, id, report.frameworkId, report.status)
      break
    case 'health':
      healthChange(context, id, report.taskId, report.healthy)
      break
    case 'reservations-kept':
      reservationsKept(context, id, report.problem)
      break
    case 'executor-message':
    case 'executor-ended':
      executorReport(context, id, report)
      break
    case 'pong':
      entry.state = stepAgent(entry.state, { kind: 'pong' })
      break
  }
}

/** The session ended: no new work for the agent; its tasks count as running until it is unreachable. */
function disconnect(context: MasterContext, entry: AgentEntry): void {
  const { id }: { readonly id: AgentId } = entry.record
  entry.link = undefined
  entry.state = stepAgent(entry.state, { kind: 'session-lost' })
  context.allocator.setAgentActive(id, 'inactive')
  context.offers.rescindOfAgent(id)
  context.log.warn({ agentId: id, node: entry.record.nodeName }, 'agent disconnected')
}
