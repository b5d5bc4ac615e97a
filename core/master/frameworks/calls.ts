import { unreachable } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { addShares, noReservations, type ResourceShare } from '../../model/reservation.ts'
import { noResources } from '../../model/resources.ts'
import { type Offer, type OfferOperation, type SchedulerCall } from '../../model/scheduler.ts'
import { type TaskInfo, type TaskState } from '../../model/task.ts'
import { type FrameworkEntry, type MasterContext } from '../context.ts'
import { runOperations } from '../reservations/run.ts'
import { sendLaunch } from '../reservations/send-launch.ts'
import { acknowledge, ensureVips, forward, killTask, putTask } from '../tasks/tasks.ts'
import { roomOfAgent } from '../networks/room.ts'
import { checkVips } from '../networks/vips.ts'
import { masterStatus } from '../tasks/state.ts'
import { type LaunchVerdicts, validateLaunches } from '../tasks/validate.ts'
import { validateGroup } from '../tasks/validate-executor.ts'
import { messageExecutor, shutdownExecutor } from './executors.ts'
import { reconcile } from './reconcile.ts'
import { teardown } from './lifecycle.ts'
import { reviveRoles, suppressRoles } from './roles.ts'
import { updateFramework } from './update.ts'

/** Does what a subscribed framework asks. */
export function handleCall(context: MasterContext, framework: FrameworkEntry, call: SchedulerCall): void {
  const { offers } = context
  switch (call.kind) {
    case 'accept':
      accept(context, framework, call)
      break
    case 'decline':
      offers.decline(framework.id, call.offerIds, call.refuseMs)
      break
    case 'revive':
      reviveRoles(context, framework, call.roles)
      break
    case 'suppress':
      suppressRoles(context, framework, call.roles)
      break
    case 'kill':
      kill(context, framework, call)
      break
    case 'acknowledge':
      if (mayAcknowledge(context, framework, call)) acknowledge(context, call)
      break
    case 'reconcile':
      reconcile(context, framework, call)
      break
    case 'update-framework':
      updateFramework(context, framework, call)
      break
    case 'shutdown':
      shutdownExecutor(context, framework, call)
      break
    case 'message':
      messageExecutor(context, framework, call)
      break
    case 'teardown':
      teardown(context, framework)
      break
    default:
      unreachable(call)
  }
}

type AcceptCall = Extract<SchedulerCall, { readonly kind: 'accept' }>

function accept(context: MasterContext, framework: FrameworkEntry, call: AcceptCall): void {
  const taken = context.offers.take(framework.id, call.offerIds)
  const asked = [...launchesOf(call), ...(call.refused ?? [])]
  if (taken === undefined) {
    const message = 'an offer of the call is not outstanding (any more), or they are not all of one agent and role'
    drop(context, framework, asked, { reason: 'REASON_INVALID_OFFERS', message })
    return
  }
  const [offer] = taken
  const agent = context.agents.get(offer.agentId)
  if (agent?.link === undefined) {
    const message = `agent ${offer.agentId} is not connected`
    drop(context, framework, asked, { reason: 'REASON_AGENT_DISCONNECTED', message })
    return
  }
  refuse(context, framework, call)
  const { agentId, role } = offer
  const offered = taken.reduce((sum, each) => addShares(sum, shareOfOffer(each)), nothing)
  const { left, used } = carryOut(context, framework, { call, agentId, role, offered })
  // A refusal of 0 after a launch blocks nothing: the rest is offered anew at once, each time with less in it.
  if (!used || call.refuseMs !== 0) {
    const { unreserved: resources, reserved } = left
    context.offers.refuse({ frameworkId: framework.id, agentId, role, resources, reserved }, call.refuseMs)
  }
}

interface Accepted {
  readonly call: AcceptCall
  readonly agentId: AgentId
  readonly role: string
  readonly offered: ResourceShare
}

/** Carries out the operations one after the other, each on what the ones before left. @returns what is left in the end */
function carryOut(
  context: MasterContext,
  framework: FrameworkEntry,
  { call, agentId, role, offered }: Accepted,
): { readonly left: ResourceShare; readonly used: boolean } {
  const principal = framework.info.principal ?? ''
  const written: Promise<void>[] = []
  let left = offered
  let used = false
  for (const operation of operationsOf(call)) {
    if (operation.kind === 'launch' || operation.kind === 'launch-group') {
      const verdicts = carryOutLaunch(context, framework, { operation, agentId, role, offered: left, written })
      used ||= verdicts.accepted.length > 0
      left = verdicts.left
    } else {
      const result = runOperations(context, { agentId, role, principal, free: left, operations: [operation] })
      if (result.durable !== undefined) written.push(result.durable)
      left = result.free
    }
  }
  return { left, used }
}

interface Launching extends Omit<Accepted, 'call'> {
  readonly operation: Extract<OfferOperation, { readonly tasks: readonly TaskInfo[] }>
  readonly written: readonly Promise<void>[]
}

function carryOutLaunch(
  context: MasterContext,
  framework: FrameworkEntry,
  { operation, agentId, role, offered, written }: Launching,
): LaunchVerdicts {
  const [validate, reason] =
    operation.kind === 'launch'
      ? ([validateLaunches, 'REASON_TASK_INVALID'] as const)
      : ([validateGroup, 'REASON_TASK_GROUP_INVALID'] as const)
  const verdicts = judgeLaunches(context, framework, { agentId, offered, launches: operation.tasks, validate })
  for (const { info, problem } of verdicts.refused) {
    tell(context, framework, info, { state: 'TASK_ERROR', reason, message: problem })
  }
  for (const info of verdicts.accepted) launch(context, framework, info, role)
  sendLaunch(context, { agentId, frameworkId: framework.id, tasks: verdicts.accepted }, written)
  return verdicts
}

function shareOfOffer({ resources, reserved = noReservations }: Offer): ResourceShare {
  return { unreserved: resources, reserved }
}

const nothing: ResourceShare = { unreserved: noResources, reserved: noReservations }

/** In the order in which they are carried out. */
function operationsOf({ operations = [], launches }: AcceptCall): readonly OfferOperation[] {
  return launches.length === 0 ? operations : [...operations, { kind: 'launch', tasks: launches }]
}

/** All tasks of the call, those of groups too. */
function launchesOf({ launches, operations = [] }: AcceptCall): readonly TaskInfo[] {
  const more = operations.flatMap((one) => (one.kind === 'launch' || one.kind === 'launch-group' ? one.tasks : []))
  return [...launches, ...more]
}

/** Tells what the call's reader found wrong. */
function refuse(context: MasterContext, framework: FrameworkEntry, call: AcceptCall): void {
  const { refused = [] } = call
  for (const { problem, ...place } of refused) {
    tell(context, framework, place, { state: 'TASK_ERROR', reason: 'REASON_TASK_INVALID', message: problem })
  }
}

function judgeLaunches(
  context: MasterContext,
  framework: FrameworkEntry,
  asked: {
    readonly agentId: AgentId
    readonly offered: ResourceShare
    readonly launches: readonly TaskInfo[]
    readonly validate: typeof validateLaunches
  },
): LaunchVerdicts {
  const { agentId, offered, launches, validate } = asked
  const { profile, registrar, vipUse } = context
  const { networks, nodes } = registrar.state
  const nodeName = context.agents.get(agentId)?.record.nodeName
  const shares = nodeName === undefined ? [] : (nodes.get(nodeName)?.subnets ?? [])
  return validate(launches, {
    offered,
    agentId,
    networks,
    nodeNetworks: new Set(shares.map(({ network }) => network)),
    room: roomOfAgent(context, agentId),
    isTaskIdUsed: ({ taskId }) => context.tasks.get(taskId) !== undefined,
    executor: (executorId) => context.tasks.executors.find({ agentId, frameworkId: framework.id, executorId }),
    checkVips: (vips) => checkVips(profile, registrar.state, { vips, framework: framework.info.name, use: vipUse() }),
  })
}

type TaskPlace = Pick<TaskInfo, 'taskId' | 'agentId'>

/** The launch itself is not waited for to be cached: an agent that got it tells of it when it comes back. */
function launch(context: MasterContext, framework: FrameworkEntry, info: TaskInfo, role: string): void {
  const timestampMs = context.clock.nowMs()
  const status = masterStatus({ info }, { state: 'TASK_STAGING', reason: '', message: '', timestampMs })
  const { reason: _, message: __, ...staging } = status
  const task = { info, frameworkId: framework.id, role, status: staging }
  context.counters.launches++
  putTask(context, task)
  ensureVips(context, task) // now, so that the address is durable before the task runs
}

function drop(
  context: MasterContext,
  framework: FrameworkEntry,
  launches: readonly TaskPlace[],
  why: { readonly reason: string; readonly message: string },
): void {
  for (const info of launches) tell(context, framework, info, { state: 'TASK_DROPPED', ...why })
}

function tell(
  context: MasterContext,
  framework: FrameworkEntry,
  info: TaskPlace,
  verdict: { readonly state: TaskState; readonly reason: string; readonly message: string },
): void {
  const status = masterStatus({ info }, { ...verdict, timestampMs: context.clock.nowMs() })
  forward(context, framework.id, status, info.agentId)
}

function kill(
  context: MasterContext,
  framework: FrameworkEntry,
  { taskId, graceMs, agentId }: Extract<SchedulerCall, { readonly kind: 'kill' }>,
): void {
  const task = context.tasks.get(taskId)
  if (task?.frameworkId === framework.id) killTask(context, task, graceMs ?? task.info.killGraceMs)
  else reconcile(context, framework, { taskIds: [taskId], ...(agentId && { agentOf: new Map([[taskId, agentId]]) }) })
}

/** A framework can't answer for another one's task, nor for another agent's; of a task that nobody knows its agent decides. */
function mayAcknowledge({ tasks }: MasterContext, { id }: FrameworkEntry, { taskId, agentId }: TaskPlace): boolean {
  const task = tasks.get(taskId)
  return task === undefined || (task.frameworkId === id && task.info.agentId === agentId)
}
