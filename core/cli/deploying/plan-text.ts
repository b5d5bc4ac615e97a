import { rowsOf } from './progress.ts'
import { isRecord } from '../api.ts'

type Row = Record<string, unknown>

/** Field changes that are shown of one app. */
const maxChanges = 50

/** An answer of `POST /v1/plan` for people. */
export function formatPlan(plan: unknown): string {
  const answer = isRecord(plan) ? plan : {}
  const apps = rowsOf(answer['apps'])
  const interrupts = Array.isArray(answer['interrupts']) ? answer['interrupts'].map(String) : []
  const lines = [
    ...(apps.length === 0 ? ['nothing would change'] : apps.flatMap(appLines)),
    ...interrupts.map((id) => `deployment ${id} is under way: with --force it would be given up, else this is refused`),
    ...(answer['fits'] === false ? ['it does not fit now: what is missing would wait'] : []),
  ]
  return lines.join('\n')
}

function appLines(app: Row): readonly string[] {
  const instances = isRecord(app['instances']) ? app['instances'] : {}
  const restarts = rowsOf(app['restarts'])
  const changes = rowsOf(app['changes'])
  const count =
    instances['from'] === instances['to'] ? `${instances['to']}` : `${instances['from']} -> ${instances['to']}`
  const placements = rowsOf(app['placements']).map(({ host, count: n }) => `${String(n)} on ${String(host)}`)
  const unplaced = Number(app['unplaced'] ?? 0)
  return [
    `${String(app['id'])}: ${verb(app['change'])} (step ${String(app['step'])}), instances: ${count}`,
    ...changes.slice(0, maxChanges).map((change) => `  ${formatChange(change)}`),
    ...(changes.length > maxChanges ? [`  and ${changes.length - maxChanges} more fields`] : []),
    ...restarts.map(({ id, host }) => `  replaced: ${String(id)} on ${String(host)}`),
    ...(Number(app['stops'] ?? 0) > 0 ? [`  stopped: ${String(app['stops'])}`] : []),
    ...(placements.length === 0 ? [] : [`  placed: ${placements.join(', ')}`]),
    ...(unplaced === 0 ? [] : [`  not placed: ${unplaced}${app['advice'] === undefined ? '' : `: ${app['advice']}`}`]),
    ...rowsOf(app['reasons']).map(
      ({ host, reason, detail }) => `    ${String(host)}: ${String(reason)}: ${String(detail)}`,
    ),
  ]
}

function verb(change: unknown): string {
  switch (change) {
    case 'create':
      return 'new'
    case 'delete':
      return 'removed'
    case 'scale':
      return 'scaled'
    case 'replace':
      return 'changed, with new instances'
    case 'update':
      return 'changed, without new instances'
    default:
      return 'unchanged'
  }
}

function formatChange({ path, from, to }: Row): string {
  const text = (value: unknown) => (value === undefined ? '(not there)' : JSON.stringify(value))
  return `${String(path)}: ${text(from)} -> ${text(to)}`
}
