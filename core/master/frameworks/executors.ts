import { type AgentReport } from '../../api/messages.ts'
import { type AgentId } from '../../model/ids.ts'
import { type SchedulerCall } from '../../model/scheduler.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'

type CallOf<Kind> = Extract<SchedulerCall, { readonly kind: Kind }>
type ReportOf<Kind> = Extract<AgentReport, { readonly kind: Kind }>

/** Hands a message on to the executor's agent, as far as that is connected: messages may get lost. */
export function messageExecutor(context: MasterContext, { id }: FrameworkEntry, call: CallOf<'message'>): void {
  const { agentId, executorId, data } = call
  const link = context.agents.get(agentId)?.link
  link?.send({ kind: 'executor-message', frameworkId: id, executorId, data })
}

/** Asks for the end of an executor, with its tasks. */
export function shutdownExecutor(context: MasterContext, { id }: FrameworkEntry, call: CallOf<'shutdown'>): void {
  const { agentId, executorId } = call
  context.agents.get(agentId)?.link?.send({ kind: 'shutdown-executor', frameworkId: id, executorId })
}

/** Ends the executors of a framework that was torn down, those without tasks too. */
export function shutdownExecutors({ agents, tasks }: MasterContext, { id }: FrameworkEntry): void {
  for (const agentId of tasks.executors.takeAgents(id)) {
    agents.get(agentId)?.link?.send({ kind: 'shutdown-executor', frameworkId: id })
  }
}

/** Tells a framework what an agent says of its executors. */
export function executorReport(
  { frameworks }: MasterContext,
  agentId: AgentId,
  report: ReportOf<'executor-message' | 'executor-ended'>,
): void {
  const { frameworkId, executorId } = report
  const deliver = frameworks.get(frameworkId)?.deliver
  if (report.kind === 'executor-message') deliver?.({ kind: 'message', agentId, executorId, data: report.data })
  else {
    const status = report.status === undefined ? {} : { status: report.status }
    deliver?.({ kind: 'failure', agentId, executorId, ...status })
  }
}
