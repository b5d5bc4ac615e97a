import { type Ip } from '../../core/base/ip.ts'
import { type PortRange } from '../../core/model/resources.ts'
import { type DiscoveryInfo, type NetworkInfo } from '../../core/model/task.ts'

/** What a step of a task's life says that names depend on. */
export interface MesosStatus {
  readonly state: string
  /** Seconds since the epoch; 0 where it is not told. */
  readonly timestamp: number
  readonly healthy?: boolean
  readonly networks: readonly NetworkInfo[]
  /** Of the labels `Docker.NetworkSettings.IPAddress` and `MesosContainerizer.NetworkSettings.IPAddress`. */
  readonly docker: readonly Ip[]
  readonly mesos: readonly Ip[]
}

/** A task of a Mesos master. */
export interface MesosTask {
  readonly id: string
  readonly name: string
  readonly frameworkId: string
  readonly agentId: string
  readonly state: string
  readonly ports: readonly PortRange[]
  readonly statuses: readonly MesosStatus[]
  readonly discovery?: DiscoveryInfo
  readonly check: 'none' | 'some'
}

/** An agent or framework, and where it is: a host's name or address. */
export interface MesosPlace {
  readonly id: string
  readonly name: string
  readonly host: string
  readonly port?: number
}

/** What is known of a Mesos cluster. */
export interface MesosModel {
  /** `host:port`. */
  readonly leader?: string
  readonly agents: ReadonlyMap<string, MesosPlace>
  readonly frameworks: ReadonlyMap<string, MesosPlace>
  /** By {@link taskKey}: ids are unique within a framework only. */
  readonly tasks: ReadonlyMap<string, MesosTask>
}

/** Nothing. */
export const emptyModel: MesosModel = { agents: new Map(), frameworks: new Map(), tasks: new Map() }

/** Identity of a task. */
export function taskKey({ frameworkId, id }: Pick<MesosTask, 'frameworkId' | 'id'>): string {
  return `${frameworkId} ${id}`
}

/** A change that a master's event stream tells. */
export type MesosEvent =
  | { readonly kind: 'whole'; readonly model: MesosModel }
  | { readonly kind: 'task'; readonly task: MesosTask }
  | {
      readonly kind: 'status'
      readonly frameworkId: string
      readonly taskId: string
      readonly state: string
      readonly status?: MesosStatus
    }
  | { readonly kind: 'agent'; readonly agent: MesosPlace }
  | { readonly kind: 'agent.gone'; readonly id: string }
  | { readonly kind: 'framework'; readonly framework: MesosPlace }
  | { readonly kind: 'framework.gone'; readonly id: string }
  | { readonly kind: 'heartbeat' }

/** How many steps of a task are kept: the newest with an address counts. */
const keptStatuses = 8

/** States after which a task never runs again. */
const gone = /^TASK_(FINISHED|FAILED|KILLED|ERROR|LOST|DROPPED|GONE|GONE_BY_OPERATOR)$/

/** The model after the event. Pure; maps that an event does not concern stay the same objects. */
export function step(model: MesosModel, event: MesosEvent): MesosModel {
  switch (event.kind) {
    case 'whole':
      return event.model
    case 'task':
      return { ...model, tasks: withEntry(model.tasks, taskKey(event.task), event.task) }
    case 'status':
      return { ...model, tasks: withStatus(model.tasks, event) }
    case 'agent':
      return { ...model, agents: withEntry(model.agents, event.agent.id, event.agent) }
    case 'agent.gone':
      return { ...model, agents: without(model.agents, event.id) }
    case 'framework':
      return { ...model, frameworks: withEntry(model.frameworks, event.framework.id, event.framework) }
    case 'framework.gone': {
      const tasks = [...model.tasks].filter(([, { frameworkId }]) => frameworkId !== event.id)
      return { ...model, frameworks: without(model.frameworks, event.id), tasks: new Map(tasks) }
    }
    case 'heartbeat':
      return model
    default:
      return event satisfies never
  }
}

function withStatus(
  tasks: MesosModel['tasks'],
  { frameworkId, taskId, state, status }: Extract<MesosEvent, { kind: 'status' }>,
): MesosModel['tasks'] {
  const key = taskKey({ frameworkId, id: taskId })
  const task = tasks.get(key)
  if (task === undefined) return tasks
  if (gone.test(state)) return without(tasks, key)
  const statuses = status === undefined ? task.statuses : [...task.statuses, status].slice(-keptStatuses)
  return withEntry(tasks, key, { ...task, state, statuses })
}

function withEntry<Value>(map: ReadonlyMap<string, Value>, key: string, value: Value): ReadonlyMap<string, Value> {
  return new Map(map).set(key, value)
}

function without<Value>(map: ReadonlyMap<string, Value>, key: string): ReadonlyMap<string, Value> {
  const next = new Map(map)
  next.delete(key)
  return next
}
