import { AppError } from '../../core/base/errors.ts'
import { idOf, type Json, listOf, objectOf, textOf } from './json.ts'
import { type MesosEvent, type MesosModel, type MesosPlace, type MesosTask, taskKey } from './mesos.ts'
import { parseStatus, parseTask } from './parse-task.ts'

/** A cluster, and how many of its entries can have no name. */
export interface ParsedState {
  readonly model: MesosModel
  readonly skipped: number
}

/**
 * A master's `/state`. An entry that makes no sense is skipped, never the others. Source: reference/mesos-http-api.md, State.
 * @throws ERR_MESOS_STATE when it is no state at all, or names no leader
 */
export function parseState(value: unknown): ParsedState {
  const state = objectOf(value)
  const leader = textOf(state['leader']).split('@').at(-1) ?? ''
  if (!Array.isArray(state['frameworks']) || leader === '') {
    throw new AppError('ERR_MESOS_STATE', 'the answer of the master is no state with a leader')
  }
  const frameworks = listOf(state['frameworks']).map(objectOf)
  const tasks = frameworks.flatMap((framework) => {
    const id = idOf(framework['id'])
    return listOf(framework['tasks']).map((task) => parseTask(task, id))
  })
  return collect({
    leader,
    agents: listOf(state['slaves']).map((agent) => parseAgent(objectOf(agent))),
    frameworks: frameworks.map(parseFramework),
    tasks,
  })
}

/** Of the operator API's GET_STATE: as SUBSCRIBED brings it. `leader`: `host:port` of the master that was asked. */
export function parseGetState(value: unknown, leader: string): ParsedState {
  const state = objectOf(value)
  const agents = listOf(objectOf(state['get_agents'])['agents']).map((agent) => parseAgent(objectOf(agent)))
  const frameworks = listOf(objectOf(state['get_frameworks'])['frameworks']).map((one) => parseFramework(objectOf(one)))
  const tasks = listOf(objectOf(state['get_tasks'])['tasks']).map((task) => parseTask(task))
  return collect({ leader, agents, frameworks, tasks })
}

function collect(parts: {
  readonly leader: string
  readonly agents: readonly (MesosPlace | undefined)[]
  readonly frameworks: readonly (MesosPlace | undefined)[]
  readonly tasks: readonly (MesosTask | undefined)[]
}): ParsedState {
  const all = [...parts.agents, ...parts.frameworks, ...parts.tasks]
  const byId = (places: readonly (MesosPlace | undefined)[]) =>
    new Map(places.flatMap((place) => (place === undefined ? [] : [[place.id, place] as const])))
  const tasks = parts.tasks.filter((task) => task !== undefined)
  return {
    model: {
      leader: parts.leader,
      agents: byId(parts.agents),
      frameworks: byId(parts.frameworks),
      tasks: new Map(tasks.map((task) => [taskKey(task), task])),
    },
    skipped: all.filter((entry) => entry === undefined).length,
  }
}

/** `slave(1)@192.0.2.1:5051`, else the host's name. */
function parseAgent(agent: Json): MesosPlace | undefined {
  const info = objectOf(agent['agent_info'] ?? agent)
  const id = idOf(info['id'])
  const place = parsePid(agent['pid']) ?? { host: textOf(info['hostname']) }
  return id === '' || place.host === '' ? undefined : { id, name: id, ...place }
}

/** `scheduler-…@192.0.2.1:40001`; frameworks that speak HTTP have a host's name only. */
function parseFramework(framework: Json): MesosPlace | undefined {
  const info = objectOf(framework['framework_info'] ?? framework)
  const id = idOf(info['id'])
  const name = textOf(info['name'])
  if (id === '' || name === '') return undefined
  return { id, name, ...(parsePid(framework['pid']) ?? { host: textOf(info['hostname']) }) }
}

function parsePid(value: unknown): { readonly host: string; readonly port: number } | undefined {
  return parseHostPort(textOf(value).split('@')[1] ?? '')
}

/** `host:port`, IPv6 in brackets; `undefined` for anything else. */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, host, port] = /^(\[[^\]]+\]|[^:@/\s]+):(\d{1,5})$/.exec(text) ?? []
  return host === undefined ? undefined : { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** An event of the operator API's stream; `undefined` for those that change no name. */
export function parseEvent(value: unknown, leader: string): MesosEvent | undefined {
  const event = objectOf(value)
  const type = textOf(event['type'])
  const body = objectOf(event[type.toLowerCase()])
  switch (type) {
    case 'SUBSCRIBED':
      return { kind: 'whole', model: parseGetState(body['get_state'], leader).model }
    case 'HEARTBEAT':
      return { kind: 'heartbeat' }
    case 'TASK_ADDED':
      return ofEntry(parseTask(body['task']), (task) => ({ kind: 'task', task }))
    case 'TASK_UPDATED':
      return statusEvent(body)
    case 'AGENT_ADDED':
      return ofEntry(parseAgent(objectOf(body['agent'])), (agent) => ({ kind: 'agent', agent }))
    case 'AGENT_REMOVED':
      return { kind: 'agent.gone', id: idOf(body['agent_id']) }
    case 'FRAMEWORK_ADDED':
    case 'FRAMEWORK_UPDATED':
      return ofEntry(parseFramework(objectOf(body['framework'])), (framework) => ({ kind: 'framework', framework }))
    case 'FRAMEWORK_REMOVED':
      return { kind: 'framework.gone', id: idOf(objectOf(body['framework_info'])['id']) }
    default:
      return undefined
  }
}

/** The state beside the status is the latest; the status may be one that waits for its acknowledgement. */
function statusEvent(body: Json): MesosEvent | undefined {
  const status = objectOf(body['status'])
  const taskId = idOf(status['task_id'])
  const state = textOf(body['state'] ?? status['state'])
  const frameworkId = idOf(body['framework_id'])
  return taskId === '' ? undefined : { kind: 'status', frameworkId, taskId, state, status: parseStatus(status) }
}

function ofEntry<Value>(value: Value | undefined, make: (value: Value) => MesosEvent): MesosEvent | undefined {
  return value === undefined ? undefined : make(value)
}
