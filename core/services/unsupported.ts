import { isObject } from '../scheduling/json.ts'

/** Where in a body a field stands. */
type Place = 'app' | 'container' | 'healthCheck'

/** A field of Marathon that this version refuses, unless its value asks for nothing. */
interface Refusal {
  readonly error: string
  readonly harmless: (value: unknown) => boolean
}

const isEmpty = (value: unknown): boolean =>
  (Array.isArray(value) && value.length === 0) || (isObject(value) && Object.keys(value).length === 0)
const isOne =
  (...allowed: readonly unknown[]) =>
  (value: unknown): boolean =>
    allowed.includes(value)
const always = (): boolean => true
const never = (): boolean => false

function later(harmless: (value: unknown) => boolean): Refusal {
  return { error: 'is not supported yet', harmless }
}

/** Marathon's answers carry these: a client that sends back what it read asks for nothing by them. */
const answerFields = [
  'version',
  'versionInfo',
  'tasksStaged',
  'tasksRunning',
  'tasksHealthy',
  'tasksUnhealthy',
  'deployments',
  'tasks',
  'lastTaskFailure',
  'taskStats',
  'readinessCheckResults',
] as const

const refusals: Readonly<Record<Place, Readonly<Record<string, Refusal>>>> = {
  app: {
    ...Object.fromEntries(answerFields.map((field) => [field, later(always)])),
    pod: { error: 'is not a field that exists here: use /v2/pods', harmless: never },
    executor: later(isOne('')),
    gpus: later(isOne(0)),
    networkBandwidth: later(isOne(0)),
    readinessChecks: {
      error: 'are not supported: an instance is ready when its health check has passed and every node has its name',
      harmless: isEmpty,
    },
    resourceLimits: {
      error: 'is not supported: mem is the limit already, and cpus the share',
      harmless: isEmpty,
    },
    role: later(isOne('*')),
    storeUrls: later(isEmpty),
    taskRestartSettings: later(never),
    tty: { error: 'is not supported: weft task exec opens a terminal in a task that runs', harmless: isOne(false) },
    uris: later(isEmpty),
  },
  container: { linuxInfo: later(never) },
  healthCheck: {
    delaySeconds: later(never),
    ignoreHttp1xx: later(isOne(false)),
    ipProtocol: later(isOne('IPv4')),
  },
}

/** `value` without the fields that ask for nothing, and what must be said of the others. */
export function withoutHarmless(
  value: Readonly<Record<string, unknown>>,
  place: Place,
): { readonly kept: Readonly<Record<string, unknown>>; readonly refused: ReadonlyMap<string, string> } {
  const kept: Record<string, unknown> = {}
  const refused = new Map<string, string>()
  for (const [key, field] of Object.entries(value)) {
    const refusal = Object.hasOwn(refusals[place], key) ? refusals[place][key] : undefined
    if (refusal === undefined) kept[key] = field
    else if (!refusal.harmless(field)) refused.set(key, refusal.error)
  }
  return { kept, refused }
}
