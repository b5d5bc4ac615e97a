import { z } from 'zod'
import { type MasterTask } from '../../tasks/state.ts'
import { formatStateTask } from './format-task.ts'
import { joined, type Piece, toJson } from './pieces.ts'
import { type StateView } from './view.ts'

/** Source: mesos, docs/endpoints/master/tasks.md. */
const defaultLimit = 100

/** The query of `/tasks`. */
export const tasksQuery = z.looseObject({
  limit: z.coerce.number().int().min(0).default(defaultLimit),
  offset: z.coerce.number().int().min(0).default(0),
  order: z.string().default('des'),
  framework_id: z.string().optional(),
  task_id: z.string().optional(),
})

/** What is asked of `/tasks`. */
export type TasksQuery = z.infer<typeof tasksQuery>

/** `/tasks`: a page of them, the latest first unless `order=asc`. */
export function* tasksDocument(view: StateView, query: TasksQuery): Generator<Piece> {
  const sign = query.order === 'asc' ? 1 : -1
  const best = openBest(query.offset + query.limit, (a, b) => sign * (a.status.timestampMs - b.status.timestampMs))
  for (const [, list] of view.tasks) {
    for (const task of list) {
      const isAsked = query.framework_id === undefined || query.framework_id === task.frameworkId
      if (isAsked && (query.task_id === undefined || query.task_id === task.info.taskId)) best.add(task)
    }
    yield ''
  }
  yield '{"tasks":['
  yield* joined(formatted(best.take().slice(query.offset)))
  yield ']}'
}

function* formatted(tasks: readonly MasterTask[]): Generator<Piece> {
  for (const task of tasks) yield toJson(formatStateTask(task))
}

/** Keeps the first `count` of what is added, in order; sorts seldom, so that each addition costs little. */
function openBest(count: number, compare: (a: MasterTask, b: MasterTask) => number) {
  let kept: MasterTask[] = []
  const room = Math.max(2 * count, 1_000)
  const cut = () => {
    kept = kept.sort(compare).slice(0, count)
  }
  return {
    add: (task: MasterTask) => {
      kept.push(task)
      if (kept.length > room) cut()
    },
    take: (): readonly MasterTask[] => {
      cut()
      return kept
    },
  }
}
