import { type AgentId, type FrameworkId } from '../../../model/ids.ts'
import { noResources } from '../../../model/resources.ts'
import { type TaskState } from '../../../model/task.ts'
import { type AgentEntry } from '../../context.ts'
import { lifeOf } from '../../agents/decide-life.ts'
import { type TaskFragment } from './fragments.ts'
import { formatStateFramework, frameworkUse } from './format-framework.ts'
import { joined, type Piece, toJson } from './pieces.ts'
import { type StateView } from './view.ts'

/** `/state`. Source: reference/mesos-http-api.md, State; mesos, src/master/readonly_handler.cpp. */
export function* stateDocument(view: StateView): Generator<Piece> {
  const { context, about, agents } = view
  const active = agents.filter(isActive).length
  const [host = '', port = ''] = splitPlace(about.advertised)
  const pid = `master@${about.advertised}`
  const head = {
    version: about.version,
    start_time: startOf(view) / 1000,
    elected_time: startOf(view) / 1000,
    id: context.ids.masterId,
    pid,
    hostname: context.self,
    cluster: 'weft',
    leader: pid,
    leader_info: { id: context.ids.masterId, pid, port: Number(port), hostname: host },
    activated_slaves: active,
    deactivated_slaves: agents.length - active,
    unreachable_slaves: context.agents.size - agents.length,
    flags: flagsOf(view),
  }
  yield `${toJson(head).slice(0, -1)},"slaves":[`
  yield* joined(agentPieces(view))
  yield '],"recovered_slaves":[],"frameworks":['
  yield* frameworkPieces(view)
  yield '],"completed_frameworks":['
  yield* joined(completedPieces(view))
  yield '],"orphan_tasks":[],"unregistered_frameworks":[]}'
}

/** `/slaves`. */
export function* slavesDocument(view: StateView): Generator<Piece> {
  yield '{"slaves":['
  yield* joined(agentPieces(view))
  yield '],"recovered_slaves":[]}'
}

/** `/frameworks`. */
export function* frameworksDocument(view: StateView): Generator<Piece> {
  yield '{"frameworks":['
  yield* frameworkPieces(view)
  yield '],"completed_frameworks":['
  yield* joined(completedPieces(view))
  yield '],"unregistered_frameworks":[]}'
}

/** `/state-summary`: counts instead of tasks. */
export function* summaryDocument(view: StateView): Generator<Piece> {
  const { context, agents, frameworks } = view
  const ofAgent = new Map<AgentId, readonly TaskFragment[]>()
  const ofFramework = new Map<FrameworkId, Placed[]>()
  yield* gather(view, (agentId, fragments) => {
    ofAgent.set(agentId, fragments)
    for (const fragment of fragments) push(ofFramework, fragment.frameworkId, { agentId, fragment })
  })
  yield `{"hostname":${JSON.stringify(context.self)},"cluster":"weft","slaves":[`
  yield* joined(
    (function* () {
      for (const agent of agents) {
        const fragments = ofAgent.get(agent.record.id) ?? []
        const more = { ...countsOf(fragments), framework_ids: fragments.map(({ frameworkId }) => frameworkId) }
        yield spliced(agentPiece(view, agent), more)
      }
    })(),
  )
  yield '],"frameworks":['
  yield* joined(
    (function* () {
      for (const framework of frameworks) {
        const placed = ofFramework.get(framework.id) ?? []
        const fragments = placed.map(({ fragment }) => fragment)
        const facts = formatStateFramework(framework, useOf(view, framework.id, fragments))
        const slaveIds = placed.map(({ agentId }) => agentId)
        yield toJson({ ...facts, ...countsOf(fragments), slave_ids: slaveIds })
      }
    })(),
  )
  yield ']}'
}

interface Placed {
  readonly agentId: AgentId
  readonly fragment: TaskFragment
}

function* agentPieces(view: StateView): Generator<Piece> {
  for (const agent of view.agents) yield agentPiece(view, agent)
}

function agentPiece({ context, fragments, offeredOn }: StateView, agent: AgentEntry): Piece {
  const { id } = agent.record
  const available = context.allocator.available(id)
  return fragments.agent(agent, { available, offered: offeredOn.get(id) ?? noResources })
}

function* frameworkPieces(view: StateView): Generator<Piece> {
  const of = new Map<FrameworkId, TaskFragment[]>()
  yield* gather(view, (_, fragments) => {
    for (const fragment of fragments) push(of, fragment.frameworkId, fragment)
  })
  let between = ''
  for (const framework of view.frameworks) {
    const mine = of.get(framework.id) ?? []
    const facts = formatStateFramework(framework, useOf(view, framework.id, mine))
    yield `${between}${toJson(facts).slice(0, -1)},"tasks":[`
    yield* joined(mine.map(({ tasks }) => tasks))
    yield '],"unreachable_tasks":['
    yield* joined(mine.map(({ unreachable }) => unreachable))
    yield '],"completed_tasks":[],"offers":[],"executors":[]}'
    between = ','
  }
}

function* completedPieces(view: StateView): Generator<Piece> {
  for (const framework of view.completed) {
    yield toJson({ ...formatStateFramework(framework, frameworkUse()), tasks: [], completed_tasks: [] })
  }
}

/** Makes what is not made yet, with a pause after each agent. */
function* gather(
  { tasks, fragments }: StateView,
  take: (agentId: AgentId, fragments: readonly TaskFragment[]) => void,
): Generator<Piece> {
  for (const [agentId, list] of tasks) {
    take(agentId, fragments.tasks(list))
    yield ''
  }
}

function useOf({ offeredTo }: StateView, id: FrameworkId, fragments: readonly TaskFragment[]) {
  return frameworkUse(
    fragments.map(({ used }) => used),
    offeredTo.get(id),
  )
}

const counted: readonly TaskState[] = [
  ...(['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLING', 'TASK_FINISHED', 'TASK_KILLED'] as const),
  ...(['TASK_FAILED', 'TASK_LOST', 'TASK_ERROR', 'TASK_UNREACHABLE'] as const),
]

function countsOf(fragments: readonly TaskFragment[]) {
  return Object.fromEntries(
    counted.map((state) => [state, fragments.reduce((sum, { counts }) => sum + (counts.get(state) ?? 0), 0)]),
  )
}

/** A JSON object with more members. */
function spliced(json: Piece, more: object): Piece {
  return `${json.slice(0, -1)},${toJson(more).slice(1)}`
}

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const known = map.get(key)
  if (known === undefined) map.set(key, [value])
  else known.push(value)
}

/** True for an agent that gets work. */
export function isActive({ state, record }: AgentEntry): boolean {
  return state.kind === 'connected' && lifeOf(record) === 'active'
}

/** When this master began to lead: wall clock, ms. */
export function startOf({ context: { clock, openedMs } }: StateView): number {
  return clock.nowMs() - (clock.monotonicMs() - openedMs)
}

/** `address:port` in its parts. */
export function splitPlace(place: string): readonly [string, string] {
  const at = place.lastIndexOf(':')
  return [place.slice(0, at).replace(/^\[|\]$/g, ''), place.slice(at + 1)]
}

/** What Mesos would have been started with. */
export function flagsOf({ context, about }: Pick<StateView, 'context' | 'about'>) {
  const [ip, port] = splitPlace(about.advertised)
  return {
    ip,
    port,
    hostname: context.self,
    cluster: 'weft',
    agent_ping_timeout: `${context.pingIntervalMs / 1000}secs`,
  }
}
