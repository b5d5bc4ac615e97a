import { type FrameworkId } from '../../../model/ids.ts'
import { noResources, type Resources } from '../../../model/resources.ts'
import { type MasterTask } from '../../tasks/state.ts'
import { holdsResources } from '../../tasks/tasks.ts'
import { addLoosely } from '../state/amounts.ts'
import { frameworkUse } from '../state/format-framework.ts'
import { joined, type Piece, toJson } from '../state/pieces.ts'
import { type StateView } from '../state/view.ts'
import { formatAgent, formatFramework, formatTask } from './format.ts'

/** Message Response.GetState, made while it is sent. Source: mesos, v1/master/master.proto. */
export function* getState(view: StateView): Generator<Piece> {
  yield '{"get_tasks":'
  yield* getTasks(view)
  yield ',"get_executors":{},"get_frameworks":'
  yield* getFrameworks(view)
  yield ',"get_agents":'
  yield* getAgents(view)
  yield '}'
}

/** Message Response.GetTasks. */
export function* getTasks({ tasks }: StateView): Generator<Piece> {
  const isUnreachable = ({ status }: MasterTask) => status.state === 'TASK_UNREACHABLE'
  const pieces = function* (wanted: boolean): Generator<Piece> {
    for (const [, list] of tasks) {
      const found = list.filter((task) => isUnreachable(task) === wanted)
      yield found.map((task) => toJson(formatTask(task))).join(',')
    }
  }
  yield '{"tasks":['
  yield* joined(pieces(false))
  yield '],"unreachable_tasks":['
  yield* joined(pieces(true))
  yield ']}'
}

/** Message Response.GetFrameworks. */
export function* getFrameworks(view: StateView): Generator<Piece> {
  const used = new Map<FrameworkId, Resources>()
  for (const [, list] of view.tasks) {
    for (const task of list) {
      if (!holdsResources(task)) continue
      used.set(task.frameworkId, addLoosely(used.get(task.frameworkId) ?? noResources, portless(task)))
    }
    yield ''
  }
  const format = (frameworks: StateView['frameworks']) =>
    frameworks.map((framework) => {
      const { id } = framework
      const use = frameworkUse([used.get(id) ?? noResources], view.offeredTo.get(id))
      return toJson(formatFramework(framework, use))
    })
  yield '{"frameworks":['
  yield* joined(format(view.frameworks))
  yield '],"completed_frameworks":['
  yield* joined(format(view.completed))
  yield ']}'
}

function portless({ info: { resources } }: MasterTask): Resources {
  return { ...resources, ports: [] }
}

/** Message Response.GetAgents. */
export function* getAgents(view: StateView): Generator<Piece> {
  yield '{"agents":['
  yield* joined(agentsOf(view))
  yield ']}'
}

function* agentsOf(view: StateView): Generator<Piece> {
  for (const agent of view.agents) yield toJson(agentOf(view, agent))
}

/** An agent with what is known of it now. */
export function agentOf(view: Pick<StateView, 'context' | 'about' | 'offeredOn'>, agent: StateView['agents'][number]) {
  const { id } = agent.record
  const use = { available: view.context.allocator.available(id), offered: view.offeredOn.get(id) ?? noResources }
  return formatAgent(agent, use, view.about.version)
}
