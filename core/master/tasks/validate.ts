import { cidrParts } from '../../base/cidr.ts'
import { errorMessage } from '../../base/errors.ts'
import { type NetworkName } from '../../model/ids.ts'
import {
  addShares,
  containsShare,
  reservedResources,
  type ResourceShare,
  shareOf,
  subtractShares,
} from '../../model/reservation.ts'
import { containsResources } from '../../model/resources.ts'
import { type Network } from '../../model/snapshot.ts'
import { type ExecutorInfo } from '../../model/executor.ts'
import { networksOfTask, type TaskInfo } from '../../model/task.ts'
import { type VipSpec } from '../../model/vip.ts'
import { vipSpecs } from '../networks/vips.ts'
import { findLostField } from './lost-field.ts'
import { findExecutorProblem, knownExecutors, type KnownExecutors } from './validate-executor.ts'

/** What a launch is checked against. */
export interface LaunchContext {
  readonly offered: ResourceShare
  readonly agentId: TaskInfo['agentId']
  readonly networks: ReadonlyMap<NetworkName, Network>
  /** Networks that the agent's node has a part of. */
  readonly nodeNetworks: ReadonlySet<NetworkName>
  /** Containers that still fit on the node, by network; one of which that is not known is left out. */
  readonly room?: ReadonlyMap<NetworkName, number>
  readonly isTaskIdUsed: (info: TaskInfo) => boolean
  /** The executor of that id that the framework has on the agent. */
  readonly executor?: (id: ExecutorInfo['id']) => ExecutorInfo | undefined
  /** Throws when a task can't be behind one of the VIPs. */
  readonly checkVips: (vips: readonly VipSpec[]) => void
}

/** The verdict on each launch, in order: what is left after the good ones, or why a bad one can't be. */
export interface LaunchVerdicts {
  readonly accepted: readonly TaskInfo[]
  readonly refused: readonly { readonly info: TaskInfo; readonly problem: string }[]
  /** What the accepted leave of the offers. */
  readonly left: ResourceShare
}

/** Checks launches one after another; each takes its resources from what the ones before left. */
export function validateLaunches(launches: readonly TaskInfo[], context: LaunchContext): LaunchVerdicts {
  const accepted: TaskInfo[] = []
  const refused: { info: TaskInfo; problem: string }[] = []
  const ids = new Set<string>()
  const room = new Map(context.room)
  const executors = knownExecutors(context.executor)
  const checks = { ...context, room, executors }
  let left = context.offered
  for (const info of launches) {
    const problem = ids.has(info.taskId) ? 'the task id is used twice in one call' : findProblem(info, left, checks)
    ids.add(info.taskId)
    if (problem === undefined) {
      accepted.push(info)
      left = subtractShares(left, needOf(info, executors))
      takeRoom(room, info, executors)
      if (info.executor !== undefined) executors.add(info.executor)
    } else {
      refused.push({ info, problem })
    }
  }
  return { accepted, refused, left }
}

/** With the task's executor, unless that is there. */
function needOf({ resources, reserved, executor }: TaskInfo, executors: KnownExecutors): ResourceShare {
  const own = shareOf(resources, reserved)
  if (executor === undefined || executors.find(executor.id) !== undefined) return own
  return addShares(own, shareOf(executor.resources))
}

/** The networks that it will be attached to: none when its executor is there. */
function newNetworks(info: TaskInfo, executors: KnownExecutors) {
  const isThere = info.executor !== undefined && executors.find(info.executor.id) !== undefined
  return isThere ? [] : networksOfTask(info)
}

function takeRoom(room: Map<NetworkName, number>, info: TaskInfo, executors: KnownExecutors): void {
  for (const { name } of newNetworks(info, executors)) {
    const before = room.get(name)
    if (before !== undefined) room.set(name, before - 1)
  }
}

type Checks = LaunchContext & { readonly executors: KnownExecutors }

function findProblem(info: TaskInfo, left: ResourceShare, context: Checks): string | undefined {
  const { cpuMillis, memMb, diskMb } = info.resources
  if (![cpuMillis, memMb, diskMb].every((amount) => isUint32(amount))) {
    return 'resources must be whole numbers, not below 0'
  }
  if (cpuMillis === 0 && memMb === 0) return 'the task asks for no resources'
  if (info.agentId !== context.agentId)
    return `the offers are of agent ${context.agentId}, the task names ${info.agentId}`
  if (!containsResources(info.resources, reservedResources(info.reserved ?? []))) {
    return 'more of the task is reserved than it has resources'
  }
  const executor = info.executor && findExecutorProblem(info, context.executors.find(info.executor.id))
  if (executor !== undefined) return executor
  if (!containsShare(left, needOf(info, context.executors))) {
    return 'the task needs more than the offers have left'
  }
  if (context.isTaskIdUsed(info)) return 'the task id is used by a task that has not ended'
  if (!isUint32(info.killGraceMs)) return 'the kill grace must be whole milliseconds'
  const lost = findLostField(info)
  if (lost !== undefined) return `"${lost}" can't be sent to agents by this version of the master`
  return findNetworkProblem(info, context) ?? findVipProblem(info, context)
}

function findNetworkProblem(info: TaskInfo, context: Checks): string | undefined {
  const names = newNetworks(info, context.executors).map(({ name }) => name)
  if (new Set(names).size !== names.length) return 'a network is named twice'
  for (const name of names) {
    const network = context.networks.get(name)
    if (network === undefined) return `there is no network "${name}"`
    if (!context.nodeNetworks.has(name)) {
      const lengths = network.subnets.map((subnet) => `/${cidrParts(subnet).length}`)
      return `the agent's node has no part of network "${name}": its ${lengths.join(' and ')} is used up`
    }
    if ((context.room?.get(name) ?? 1) < 1) return `the agent's node has no free address of network "${name}"`
  }
  return undefined
}

function findVipProblem(info: TaskInfo, { checkVips }: LaunchContext): string | undefined {
  try {
    checkVips(vipSpecs(info))
    return undefined
  } catch (error) {
    return errorMessage(error) // ERR_VIP_LABEL, ERR_MASTER_VIP_ADDRESS, ERR_MASTER_VIPS_EXHAUSTED: the message says what to do
  }
}

/** What cluster.proto can carry. */
function isUint32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32
}
