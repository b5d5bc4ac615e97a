import { parseIp } from '../base/ip.ts'
import { parseAgentId, parseExecutorId, parseNodeName, parseTaskId } from '../model/ids.ts'
import { redactSecrets } from '../model/secret.ts'
import {
  type AgentCommand as AgentCommandProto,
  type AgentMessage as AgentMessageProto,
  type AgentTask as AgentTaskProto,
  type ExecutorMessage as ExecutorMessageProto,
  type Launch as LaunchProto,
  type Refused as RefusedProto,
  type Register as RegisterProto,
} from './gen/cluster.ts'
import { decodeReservations, encodeReservations } from './convert-reservation.ts'
import { decodeResources, encodeResources } from './convert-resources.ts'
import {
  decodeFrameworkId,
  decodeTaskInfo,
  decodeTaskStatus,
  encodeTaskInfo,
  encodeTaskStatus,
} from './convert-task.ts'
import {
  type AgentCommand,
  type AgentMessage,
  type AgentOrder,
  type AgentTask,
  type ExecutorMessage,
  type Registration,
} from './messages.ts'
import { parsed, required } from './parse.ts'

/** What an agent says, as it travels. */
export function encodeAgentMessage(message: AgentMessage): AgentMessageProto {
  switch (message.kind) {
    case 'register':
      return { body: { $case: 'register', value: encodeRegistration(message.registration) } }
    case 'update':
      return { body: { $case: 'update', value: encodeTaskStatus(message.status, message.frameworkId) } }
    case 'health':
      return { body: { $case: 'health', value: { taskId: message.taskId, healthy: message.healthy } } }
    case 'pong':
      return { body: { $case: 'pong', value: {} } }
    case 'reservations-kept':
      return { body: { $case: 'reservationsKept', value: { problem: message.problem } } }
    case 'executor-message':
      return { body: { $case: 'executorMessage', value: encodeExecutorMessage(message) } }
    case 'executor-ended': {
      const { frameworkId, executorId, status } = message
      return { body: { $case: 'executorEnded', value: { frameworkId, executorId, status } } }
    }
  }
}

/** Undefined for a message of a later version. @throws ERR_API_INVALID */
export function decodeAgentMessage({ body }: AgentMessageProto): AgentMessage | undefined {
  switch (body?.$case) {
    case 'register':
      return { kind: 'register', registration: decodeRegistration(body.value) }
    case 'update': {
      const frameworkId = decodeFrameworkId(body.value.frameworkId, 'update.framework_id')
      return { kind: 'update', frameworkId, status: decodeTaskStatus(body.value, 'update') }
    }
    case 'health': {
      const { taskId, healthy } = body.value
      return { kind: 'health', taskId: parsed(taskId, parseTaskId, 'health.task_id'), healthy }
    }
    case 'pong':
      return { kind: 'pong' }
    case 'reservationsKept':
      return { kind: 'reservations-kept', problem: body.value.problem }
    case 'executorMessage':
      return decodeExecutorMessage(body.value)
    case 'executorEnded': {
      const { executorId, status } = body.value
      const frameworkId = decodeFrameworkId(body.value.frameworkId, 'executor_ended.framework_id')
      const id = parsed(executorId, parseExecutorId, 'executor_ended.executor_id')
      return { kind: 'executor-ended', frameworkId, executorId: id, ...(status === undefined ? {} : { status }) }
    }
    case undefined:
      return undefined
  }
}

/** What a master orders, as it travels. */
export function encodeAgentCommand(command: AgentCommand): AgentCommandProto {
  return { term: command.term, body: encodeOrder(command) }
}

/** Undefined for a command of a later version. @throws ERR_API_INVALID */
export function decodeAgentCommand({ term, body }: AgentCommandProto): AgentCommand | undefined {
  const order = decodeOrder(body)
  return order === undefined ? undefined : { ...order, term }
}

function encodeOrder(order: AgentOrder): NonNullable<AgentCommandProto['body']> {
  switch (order.kind) {
    case 'registered':
      return { $case: 'registered', value: { agentId: order.agentId, pingIntervalMs: order.pingIntervalMs } }
    case 'launch': {
      const { name: frameworkName = '', user: frameworkUser = '' } = order.framework ?? {}
      const tasks = order.tasks.map(encodeTaskInfo)
      return { $case: 'launch', value: { frameworkId: order.frameworkId, tasks, frameworkName, frameworkUser } }
    }
    case 'kill':
      return { $case: 'kill', value: { taskId: order.taskId, graceMs: order.graceMs } }
    case 'acknowledge':
      return { $case: 'acknowledge', value: { taskId: order.taskId, uuid: order.uuid } }
    case 'ping':
      return { $case: 'ping', value: {} }
    case 'reservations': {
      const { reserved, destroyed } = order
      const value = { reserved: encodeReservations(reserved), destroyed: encodeReservations(destroyed) }
      return { $case: 'reservations', value }
    }
    case 'executor-message':
      return { $case: 'executorMessage', value: encodeExecutorMessage(order) }
    case 'shutdown-executor': {
      const { frameworkId, executorId = '' } = order
      return { $case: 'shutdownExecutor', value: { frameworkId, executorId } }
    }
    case 'refused':
      return { $case: 'refused', value: { code: order.code, reason: order.reason, leader: order.leader ?? '' } }
  }
}

function decodeOrder(body: AgentCommandProto['body']): AgentOrder | undefined {
  switch (body?.$case) {
    case 'registered': {
      const agentId = parsed(body.value.agentId, parseAgentId, 'registered.agent_id')
      return { kind: 'registered', agentId, pingIntervalMs: body.value.pingIntervalMs }
    }
    case 'launch':
      return decodeLaunch(body.value)
    case 'kill': {
      const { taskId, graceMs } = body.value
      return { kind: 'kill', taskId: parsed(taskId, parseTaskId, 'kill.task_id'), graceMs }
    }
    case 'acknowledge': {
      const { taskId, uuid } = body.value
      return { kind: 'acknowledge', taskId: parsed(taskId, parseTaskId, 'acknowledge.task_id'), uuid }
    }
    case 'ping':
      return { kind: 'ping' }
    case 'reservations': {
      const reserved = decodeReservations(body.value.reserved, 'reservations.reserved')
      return {
        kind: 'reservations',
        reserved,
        destroyed: decodeReservations(body.value.destroyed, 'reservations.destroyed'),
      }
    }
    case 'executorMessage':
      return decodeExecutorMessage(body.value)
    case 'shutdownExecutor': {
      const { executorId } = body.value
      const frameworkId = decodeFrameworkId(body.value.frameworkId, 'shutdown_executor.framework_id')
      if (executorId === '') return { kind: 'shutdown-executor', frameworkId }
      const id = parsed(executorId, parseExecutorId, 'shutdown_executor.executor_id')
      return { kind: 'shutdown-executor', frameworkId, executorId: id }
    }
    case 'refused':
      return decodeRefused(body.value)
    case undefined:
      return undefined
  }
}

function decodeLaunch({ frameworkId, tasks, frameworkName: name, frameworkUser: user }: LaunchProto): AgentOrder {
  return {
    kind: 'launch',
    frameworkId: decodeFrameworkId(frameworkId, 'launch.framework_id'),
    tasks: tasks.map((task) => decodeTaskInfo(task, 'launch.task')),
    ...(name === '' ? {} : { framework: { name, user } }),
  }
}

function encodeExecutorMessage({ frameworkId, executorId, data }: ExecutorMessage): ExecutorMessageProto {
  return { frameworkId, executorId, data }
}

function decodeExecutorMessage({ frameworkId, executorId, data }: ExecutorMessageProto): ExecutorMessage {
  return {
    kind: 'executor-message',
    frameworkId: decodeFrameworkId(frameworkId, 'executor_message.framework_id'),
    executorId: parsed(executorId, parseExecutorId, 'executor_message.executor_id'),
    data,
  }
}

function decodeRefused({ code, reason, leader }: RefusedProto): AgentOrder {
  return { kind: 'refused', code, reason, ...(leader === '' ? {} : { leader }) }
}

/** A task of an agent, as it travels (and as a master keeps it in its store), without the values of its secrets. */
export function encodeAgentTask({ frameworkId, info, latest }: AgentTask): AgentTaskProto {
  return { frameworkId, info: encodeTaskInfo(redactSecrets(info)), latest: encodeTaskStatus(latest, frameworkId) }
}

/** @throws ERR_API_INVALID */
export function decodeAgentTask({ frameworkId, info, latest }: AgentTaskProto): AgentTask {
  return {
    frameworkId: decodeFrameworkId(frameworkId, 'task.framework_id'),
    info: decodeTaskInfo(info, 'task.info'),
    latest: decodeTaskStatus(latest, 'task.latest'),
  }
}

function encodeRegistration(registration: Registration): RegisterProto {
  return {
    agentId: registration.agentId ?? '',
    nodeName: registration.nodeName,
    underlay: registration.underlay,
    resources: encodeResources(registration.resources),
    attributes: { ...registration.attributes },
    tasks: registration.tasks.map(encodeAgentTask),
    bootId: registration.bootId,
    highestTerm: registration.highestTerm,
    reserved: encodeReservations(registration.reserved),
    kept: encodeReservations(registration.kept),
    httpPort: registration.httpPort ?? 0,
  }
}

function decodeRegistration(proto: RegisterProto): Registration {
  return {
    ...(proto.agentId === '' ? {} : { agentId: parsed(proto.agentId, parseAgentId, 'register.agent_id') }),
    nodeName: parsed(proto.nodeName, parseNodeName, 'register.node_name'),
    underlay: parsed(proto.underlay, parseIp, 'register.underlay'),
    resources: decodeResources(required(proto.resources, 'register.resources'), 'register.resources'),
    attributes: proto.attributes,
    tasks: proto.tasks.map(decodeAgentTask),
    bootId: proto.bootId,
    highestTerm: proto.highestTerm,
    reserved: decodeReservations(proto.reserved, 'register.reserved'),
    kept: decodeReservations(proto.kept, 'register.kept'),
    ...(proto.httpPort === 0 ? {} : { httpPort: proto.httpPort }),
  }
}
