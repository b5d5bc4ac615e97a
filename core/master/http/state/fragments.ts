import { type FrameworkId } from '../../../model/ids.ts'
import { noResources, type Resources } from '../../../model/resources.ts'
import { type TaskState } from '../../../model/task.ts'
import { type AgentEntry } from '../../context.ts'
import { type AgentRecord } from '../../registry/state.ts'
import { type MasterTask } from '../../tasks/state.ts'
import { holdsResources } from '../../tasks/tasks.ts'
import { addLoosely } from './amounts.ts'
import { type AgentUse, formatStateAgent } from './format-agent.ts'
import { formatStateTask } from './format-task.ts'
import { type Piece, toJson } from './pieces.ts'

/** The tasks of one framework on one agent, as JSON that is ready to be sent. */
export interface TaskFragment {
  readonly frameworkId: FrameworkId
  /** Objects with commas between; empty: none. */
  readonly tasks: Piece
  readonly unreachable: Piece
  readonly counts: ReadonlyMap<TaskState, number>
  readonly used: Resources
}

/**
 * JSON of agents and their tasks, made once and kept until what it is made of has changed: pollers of `/state` cost the
 * copying of text. The key of an agent's tasks is the identity of their list, which is never changed in place.
 */
export interface Fragments {
  tasks(list: readonly MasterTask[]): readonly TaskFragment[]
  agent(entry: AgentEntry, use: AgentUse): Piece
  /** Forgets all: nobody has asked for a while. */
  clear(): void
}

interface KeptAgent {
  readonly record: AgentRecord
  readonly state: string
  readonly available: Resources
  readonly offered: Resources
  readonly json: Piece
}

/** Opens it empty. */
export function openFragments(): Fragments {
  let byList = new WeakMap<readonly MasterTask[], readonly TaskFragment[]>()
  let byAgent = new WeakMap<AgentEntry, KeptAgent>()
  return {
    tasks: (list) => {
      const known = byList.get(list)
      if (known !== undefined) return known
      const made = makeFragments(list)
      byList.set(list, made)
      return made
    },
    agent: (entry, { available, offered }) => {
      const { record, state } = entry
      const known = byAgent.get(entry)
      const isSame = known?.record === record && known.state === state.kind
      if (isSame && known.available === available && known.offered === offered) return known.json
      const json = toJson(formatStateAgent(entry, { available, offered }))
      byAgent.set(entry, { record, state: state.kind, available, offered, json })
      return json
    },
    clear: () => {
      byList = new WeakMap()
      byAgent = new WeakMap()
    },
  }
}

function makeFragments(list: readonly MasterTask[]): readonly TaskFragment[] {
  const byFramework = new Map<FrameworkId, MasterTask[]>()
  for (const task of list) {
    const known = byFramework.get(task.frameworkId)
    if (known === undefined) byFramework.set(task.frameworkId, [task])
    else known.push(task)
  }
  return [...byFramework].map(([frameworkId, tasks]) => {
    const counts = new Map<TaskState, number>()
    const texts: string[] = []
    const lost: string[] = []
    let used: Resources = noResources
    for (const task of tasks) {
      const { state } = task.status
      counts.set(state, (counts.get(state) ?? 0) + 1)
      const into = state === 'TASK_UNREACHABLE' ? lost : texts
      into.push(toJson(formatStateTask(task)))
      if (holdsResources(task)) used = addLoosely(used, task.info.resources)
    }
    return { frameworkId, tasks: texts.join(','), unreachable: lost.join(','), counts, used }
  })
}
