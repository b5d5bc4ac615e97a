import { formatMasterInfo } from '../scheduler/master-info.ts'
import { flagsOf, startOf } from '../state/documents.ts'
import { metricsSnapshot, type StateCounts } from '../state/metrics-snapshot.ts'
import { type Piece, toJson } from '../state/pieces.ts'
import { formatLimits, formatScalars } from '../state/roles.ts'
import { type StateView } from '../state/view.ts'
import { noResources } from '../../../model/resources.ts'
import { roles } from '../../reservations/roles.ts'
import { type Question } from './calls.ts'
import { amounts } from './format.ts'
import { getAgents, getFrameworks, getState, getTasks } from './snapshot.ts'

/** What an operator's question is answered from. */
export interface Asked {
  readonly view: StateView
  readonly counts: StateCounts
}

/** The answer to a question, as message Response. Source: mesos, v1/master/master.proto. */
export function* answerQuestion(type: Exclude<Question, 'SUBSCRIBE'>, asked: Asked): Generator<Piece> {
  const body = bodyOf(type, asked)
  yield `{"type":"${type}","${type.toLowerCase()}":`
  if (Symbol.iterator in body) yield* body
  else yield toJson(body)
  yield '}'
}

function bodyOf(type: Exclude<Question, 'SUBSCRIBE'>, asked: Asked): object | Iterable<Piece> {
  const { view } = asked
  const { context, about } = view
  switch (type) {
    case 'GET_HEALTH':
      return { healthy: true }
    case 'GET_VERSION':
      return { version_info: { version: about.version } }
    case 'GET_FLAGS':
      return { flags: Object.entries(flagsOf(view)).map(([name, value]) => ({ name, value })) }
    case 'GET_METRICS':
      return { metrics: Object.entries(metricsSnapshot(context, asked)).map(([name, value]) => ({ name, value })) }
    case 'GET_LOGGING_LEVEL':
      return { level: 0 }
    case 'GET_MASTER':
      return masterOf(view)
    case 'GET_STATE':
      return getState(view)
    case 'GET_AGENTS':
      return getAgents(view)
    case 'GET_FRAMEWORKS':
      return getFrameworks(view)
    case 'GET_TASKS':
      return getTasks(view)
    case 'GET_EXECUTORS':
      return {}
    case 'GET_OPERATIONS':
      return { operations: [] }
    case 'GET_ROLES':
      return { roles: [...roles(context)].map(([name, use]) => formatRole(name, use)) }
    case 'GET_QUOTA':
      return quotaOf(view)
    case 'GET_WEIGHTS':
      return { weight_infos: [...context.registrar.state.weights.values()] }
  }
}

function masterOf(view: StateView): object {
  const { context, about } = view
  const info = formatMasterInfo({ id: context.ids.masterId, hostname: context.self, ...about })
  return { master_info: info, start_time: startOf(view) / 1000, elected_time: startOf(view) / 1000 }
}

type RoleUse = ReturnType<typeof roles> extends ReadonlyMap<string, infer Use> ? Use : never

function formatRole(name: string, { weight, frameworks, allocated }: RoleUse): object {
  const resources = amounts({ ...noResources, ...allocated })
  return { name, weight, frameworks: frameworks.map((value) => ({ value })), resources }
}

function quotaOf({ context }: StateView): object {
  const limited = [...roles(context)].filter(([, { limits }]) => limits !== undefined)
  const values = (record: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(record).map(([name, value]) => [name, { value }]))
  return {
    status: {
      configs: limited.map(([role, { limits = {} }]) => ({ role, limits: values(formatLimits(limits)) })),
      consumed: Object.fromEntries(limited.map(([role, { consumed }]) => [role, formatScalars(consumed)])),
    },
  }
}
