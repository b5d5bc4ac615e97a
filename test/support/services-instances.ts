import { parseAgentId, parseTaskId } from '../../core/model/ids.ts'
import { type AppRecord } from '../../core/services/app.ts'
import { parseAppId } from '../../core/services/ids.ts'
import { type Instance } from '../../core/services/instance.ts'
import { parseApp } from '../../core/services/parse-app.ts'

/** Now, on the monotonic clock. */
export const nowMs = 10_000_000
const context = {
  networkNames: new Set(['dcos', 'lab']),
  vipConflict: () => undefined,
  pathConflict: () => undefined,
  role: 'slave_public',
}

/** A record of an app of one instance. */
export function record(fields: object = {}, more: Partial<AppRecord> = {}): AppRecord {
  const definition = parseApp({ id: '/shop/web', cmd: 'x', ...fields }, context)
  return { definition, version: 5, configVersion: 5, scalingVersion: 5, goal: 'run', history: [], ...more }
}

/**
 * An instance from a word: state (`run`, `staged`, `sick`, `pending`, `lost` = unreachable, `back` = recovered), `-` and
 * configuration (`new`, `old`), then `!` when its kill was sent just now, `!!` when that was long ago.
 */
export function instance(word: string, index: number): Instance {
  const [state = '', rest = ''] = word.split('-')
  const health = state === 'sick' ? 'unhealthy' : state === 'pending' ? 'pending' : 'unchecked'
  const phases: Readonly<Record<string, Instance['phase']>> = {
    staged: { kind: 'staged', sinceMs: nowMs - 1_000, state: 'TASK_STAGING' },
    stuck: { kind: 'staged', sinceMs: nowMs - 300_000, state: 'TASK_STAGING' },
    killing: { kind: 'killing', sinceMs: nowMs },
    lost: { kind: 'unreachable', sinceMs: nowMs },
    back: { kind: 'recovered', sinceMs: nowMs - 1_000 },
    forgotten: { kind: 'recovered', sinceMs: nowMs - 90_000 },
  }
  const askedAtMs = rest.endsWith('!!') ? nowMs - 60_000 : nowMs
  return {
    id: parseTaskId(`${word.replaceAll('!', '')}.${index}`),
    appId: parseAppId('/shop/web'),
    configVersion: rest.startsWith('old') ? 4 : 5,
    agentId: parseAgentId(`S${index}`),
    place: { hostname: `h${index}`, attributes: {} },
    hostPorts: [],
    createdAtMs: index,
    health: health === 'unchecked' ? 'unchecked' : 'checked',
    networks: [],
    goal: rest.includes('!') ? { kind: 'stop', askedAtMs } : { kind: 'run' },
    phase: phases[state] ?? { kind: 'running', sinceMs: nowMs - 60_000, health },
  }
}
