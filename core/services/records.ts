import { z } from 'zod'
import { AppError } from '../base/errors.ts'
import { parseAgentId, parseTaskId } from '../model/ids.ts'
import { type AppRecord } from './app.ts'
import { type AppId, parseAppId } from './ids.ts'
import { type Instance } from './instance.ts'
import { appSchema } from './schema.ts'

/** Everything that the scheduler keeps is below this key. */
export const storePrefix = 'services/'
/** The framework's id, so that a new leader is the same framework. */
export const frameworkKey = `${storePrefix}framework`
const appPrefix = `${storePrefix}apps`
const instancePrefix = `${storePrefix}instances/`

/** `services/apps/shop/web`. */
export function appKey(id: AppId): string {
  return `${appPrefix}${id}`
}

/** `services/instances/shop_web.<uuid>`. */
export function instanceKey(instance: Pick<Instance, 'id'>): string {
  return `${instancePrefix}${instance.id}`
}

const storedApp = z.object({
  definition: appSchema,
  version: z.int(),
  configVersion: z.int(),
  scalingVersion: z.int(),
  goal: z.enum(['run', 'delete']),
  deployment: z
    .object({
      id: z.string(),
      action: z.enum(['StartApplication', 'ScaleApplication', 'RestartApplication', 'StopApplication']),
      startedAtMs: z.number(),
    })
    .optional(),
})

const storedInstance = z.object({
  id: z.string(),
  appId: z.string(),
  configVersion: z.int(),
  agentId: z.string(),
  place: z.object({ hostname: z.string(), attributes: z.record(z.string(), z.string()) }),
  hostPorts: z.array(z.int()),
  createdAtMs: z.number(),
  health: z.enum(['checked', 'unchecked']),
  goal: z.enum(['run', 'stop']),
})

/** An app's value in the store. */
export function formatAppRecord(record: AppRecord): string {
  return JSON.stringify(record)
}

/**
 * An instance's value in the store: what does not change while it runs. What its task does is asked of the master.
 */
export function formatInstance(instance: Instance): string {
  const { id, appId, configVersion, agentId, place, hostPorts, createdAtMs, health, goal } = instance
  return JSON.stringify({ id, appId, configVersion, agentId, place, hostPorts, createdAtMs, health, goal: goal.kind })
}

/** @throws ERR_SERVICES_STORED when it is not what {@link formatAppRecord} wrote */
export function parseAppRecord(key: string, text: string): AppRecord {
  const { definition, deployment, ...rest } = parseStored(key, text, storedApp)
  const id = parseAppId(definition.id)
  return { ...rest, definition: { ...definition, id }, ...(deployment === undefined ? {} : { deployment }) }
}

/**
 * The instance, `recovered` since `nowMs` (monotonic).
 * @throws ERR_SERVICES_STORED when it is not what {@link formatInstance} wrote
 */
export function parseInstance(key: string, text: string, nowMs: number): Instance {
  const stored = parseStored(key, text, storedInstance)
  return {
    ...stored,
    id: parseTaskId(stored.id),
    appId: parseAppId(stored.appId),
    agentId: parseAgentId(stored.agentId),
    networks: [],
    goal: { kind: stored.goal },
    phase: { kind: 'recovered', sinceMs: nowMs },
  }
}

function parseStored<Schema extends z.ZodType>(key: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new AppError('ERR_SERVICES_STORED', `the store's value at ${key} is not ours: restore it or delete the key`, {
      cause,
    })
  }
}

/** True for keys of apps. */
export const isAppKey = (key: string): boolean => key.startsWith(`${appPrefix}/`)
/** True for keys of instances. */
export const isInstanceKey = (key: string): boolean => key.startsWith(instancePrefix)
