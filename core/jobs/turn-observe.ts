import { type AgentId } from '../model/ids.ts'
import { type SchedulerCall, type SchedulerEvent } from '../model/scheduler.ts'
import { isTerminal, type TaskStatus } from '../model/task.ts'
import { runOfTask } from './ids.ts'
import { ageOf, type Memory, type Moment } from './memory.ts'
import { recordRun } from './record.ts'
import { stepRun } from './run.ts'
import { type Draft } from './world.ts'

/** What the events of a turn ask for, once what they change is written. */
export interface Heard {
  readonly subscribed: boolean
  readonly error?: string
  readonly calls: readonly SchedulerCall[]
}

/** Takes events in order: into the draft what is kept, into memory the offers. */
export function observeEvents(
  memory: Memory,
  draft: Draft,
  { events, moment }: { readonly events: readonly SchedulerEvent[]; readonly moment: Moment },
): Heard {
  const calls: SchedulerCall[] = []
  let subscribed = false
  let error: string | undefined
  for (const event of events) {
    switch (event.kind) {
      case 'subscribed':
        subscribed = true
        break
      case 'offers':
        for (const offer of event.offers) memory.offers.set(offer.id, offer)
        break
      case 'rescind':
        memory.offers.delete(event.offerId)
        break
      case 'update':
        calls.push(...observeUpdate(memory, draft, { status: event.status, agentId: event.agentId, moment }))
        break
      case 'failure':
        // The fate of its tasks comes as an update for each.
        for (const [id, offer] of memory.offers) if (offer.agentId === event.agentId) memory.offers.delete(id)
        break
      case 'error':
        error = event.message
        break
      case 'message':
        break
    }
  }
  return { subscribed, calls, ...(error === undefined ? {} : { error }) }
}

interface Update {
  readonly status: TaskStatus
  readonly agentId: AgentId | undefined
  readonly moment: Moment
}

function observeUpdate(memory: Memory, draft: Draft, { status, agentId, moment }: Update): readonly SchedulerCall[] {
  const { taskId, uuid, state } = status
  const calls: SchedulerCall[] = []
  const of = runOfTask(taskId)
  const run = of === undefined ? undefined : draft.run(of.jobId, of.runId)
  if (run?.task?.id === taskId) {
    const next = stepRun(run, { kind: 'status', status, ...ageOf(memory, run, moment) })
    if (next !== run) recordRun(draft, next, { nowMs: moment.nowMs, newId: memory.newId })
    if (next.outcome?.kind === 'failed') {
      memory.log.info({ jobId: run.jobId, runId: run.id, state, reason: next.outcome.message }, 'a run failed')
    }
  } else if (lives(status)) {
    memory.log.info({ taskId, state }, 'stopping a task that no run has')
    calls.push({ kind: 'kill', taskId, ...(agentId === undefined ? {} : { agentId }) })
  }
  if (agentId !== undefined && uuid !== undefined) calls.push({ kind: 'acknowledge', agentId, taskId, uuid })
  return calls
}

function lives({ state }: TaskStatus): boolean {
  return !isTerminal(state) && state !== 'TASK_UNKNOWN' && state !== 'TASK_UNREACHABLE' && state !== 'TASK_KILLING'
}
