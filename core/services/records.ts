import { z } from 'zod'
import { AppError } from '../base/errors.ts'
import { parseAgentId, parseTaskId } from '../model/ids.ts'
import { type AppDefinition, type AppRecord, type Former } from './app.ts'
import { type GroupRecord, type GroupVersion } from './group.ts'
import { type AppId, type GroupId, parseAppId, parseGroupId } from './ids.ts'
import { type Claim } from './claim.ts'
import { type Instance } from './instance.ts'
import { type Member } from './pods-member.ts'
import { appSchema } from './schema.ts'

/** Everything that the scheduler keeps is below this key. */
export const storePrefix = 'services/'
/** The framework's id, so that a new leader is the same framework. */
export const frameworkKey = `${storePrefix}framework`
const appPrefix = `${storePrefix}apps`
const instancePrefix = `${storePrefix}instances/`
const claimPrefix = `${storePrefix}claims/`
const groupPrefix = `${storePrefix}groups`
/** Former definitions are below this key: they are read when they are asked for, not at the start. */
const versionsRoot = 'service-versions'
const groupVersionsRoot = 'service-group-versions'

/** `services/apps/shop/web`. */
export function appKey(id: AppId): string {
  return `${appPrefix}${id}`
}

/** `services/instances/shop_web.<uuid>`. */
export function instanceKey(instance: Pick<Instance, 'id'>): string {
  return `${instancePrefix}${instance.id}`
}

/** `services/claims/shop_db.<uuid>`. */
export function claimKey({ id }: Pick<Claim, 'id'>): string {
  return `${claimPrefix}${id}`
}

/** `services/groups/shop`; of the root `services/groups/`. */
export function groupKey(id: GroupId): string {
  return `${groupPrefix}${id}`
}

/** `service-versions/shop/web@1700000000000`. */
export function versionKey(id: AppId, version: number): string {
  return `${versionPrefix(id)}${version}`
}

/** `service-group-versions/shop@1700000000000`. */
export function groupVersionKey(id: GroupId, version: number): string {
  return `${groupVersionPrefix(id)}${version}`
}

/** Keys of former definitions of one app; `below`: of all apps in a group. */
export function versionPrefix(id: AppId | GroupId, of: 'itself' | 'below' = 'itself'): string {
  if (of === 'itself') return `${versionsRoot}${id}@`
  return id === '/' ? `${versionsRoot}/` : `${versionsRoot}${id}/`
}

/** Keys of former states of one group. */
export function groupVersionPrefix(id: GroupId): string {
  return `${groupVersionsRoot}${id}@`
}

const former = z.object({
  definition: appSchema,
  version: z.int(),
  configVersion: z.int(),
  scalingVersion: z.int(),
  mixed: z.literal(true).optional(),
})

const storedApp = z.object({
  definition: appSchema,
  version: z.int(),
  configVersion: z.int(),
  scalingVersion: z.int(),
  goal: z.enum(['run', 'delete']),
  history: z.array(z.int()).default([]),
  mixed: z.literal(true).optional(),
  deployment: z
    .object({
      id: z.string(),
      action: z.enum(['StartApplication', 'ScaleApplication', 'RestartApplication', 'StopApplication']),
      startedAtMs: z.number(),
      step: z.int().default(1),
      state: z.enum(['waiting', 'active', 'done']).default('active'),
      before: former.optional(),
    })
    .optional(),
})

const storedGroup = z.object({
  id: z.string(),
  dependencies: z.array(z.string()),
  version: z.int(),
  history: z.array(z.int()),
  goal: z.enum(['run', 'delete']),
  deployment: z
    .object({
      id: z.string(),
      before: z.object({ dependencies: z.array(z.string()), version: z.int() }).optional(),
    })
    .optional(),
})

const storedGroupVersion = z.object({
  id: z.string(),
  version: z.int(),
  apps: z.record(z.string(), z.int()),
  groups: z.record(z.string(), z.array(z.string())),
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
  members: z.array(z.object({ name: z.string(), checked: z.boolean() })).optional(),
  claim: z.string().optional(),
})

const storedClaim = z.object({
  id: z.string(),
  appId: z.string(),
  agentId: z.string(),
  place: z.object({ hostname: z.string(), attributes: z.record(z.string(), z.string()) }),
  reservation: z.object({
    role: z.string(),
    kind: z.literal('dynamic'),
    principal: z.string(),
    labels: z.record(z.string(), z.string()),
    resources: z.object({ cpuMillis: z.int(), memMb: z.int(), diskMb: z.int() }),
    volumes: z.array(z.object({ id: z.string(), sizeMb: z.int(), containerPath: z.string() })),
  }),
  state: z.enum(['new', 'kept', 'leaving']),
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
  const fixed = { id, appId, configVersion, agentId, place, hostPorts, createdAtMs, health, goal: goal.kind }
  const members = instance.members?.map(({ name, checked }) => ({ name, checked }))
  const { claim } = instance
  return JSON.stringify({ ...fixed, ...(members && { members }), ...(claim && { claim }) })
}

/** @throws ERR_SERVICES_STORED when it is not what {@link formatAppRecord} wrote */
export function parseAppRecord(key: string, text: string): AppRecord {
  const { definition, deployment, mixed, ...rest } = parseStored(key, text, storedApp)
  const record = { ...rest, ...mixture(mixed), definition: withId(definition) }
  if (deployment === undefined) return record
  const { before, ...about } = deployment
  return { ...record, deployment: { ...about, ...(before === undefined ? {} : { before: formerOf(before) }) } }
}

function formerOf({ definition, mixed, ...versions }: z.output<typeof former>): Former {
  return { ...versions, ...mixture(mixed), definition: withId(definition) }
}

function mixture(mixed: true | undefined): { mixed?: true } {
  return mixed === undefined ? {} : { mixed }
}

function withId(definition: z.output<typeof appSchema>): AppDefinition {
  return { ...definition, id: parseAppId(definition.id) }
}

/** @throws ERR_SERVICES_STORED when it is no definition */
export function parseStoredDefinition(key: string, text: string): AppDefinition {
  return withId(parseStored(key, text, appSchema))
}

/** @throws ERR_SERVICES_STORED when it is no record of a group */
export function parseGroupRecord(key: string, text: string): GroupRecord {
  const { deployment, id, ...rest } = parseStored(key, text, storedGroup)
  const record = { ...rest, id: parseGroupId(id) }
  if (deployment === undefined) return record
  const { before } = deployment
  return { ...record, deployment: { id: deployment.id, ...(before === undefined ? {} : { before }) } }
}

/** @throws ERR_SERVICES_STORED when it is no version of a group */
export function parseGroupVersion(key: string, text: string): GroupVersion {
  const { id, version, apps, groups } = parseStored(key, text, storedGroupVersion)
  return {
    ...{ id: parseGroupId(id), version },
    apps: Object.fromEntries(Object.entries(apps).map(([app, of]) => [parseAppId(app), of])),
    groups: Object.fromEntries(Object.entries(groups).map(([group, of]) => [parseGroupId(group), of])),
  }
}

/**
 * The instance, `recovered` since `nowMs` (monotonic).
 * @throws ERR_SERVICES_STORED when it is not what {@link formatInstance} wrote
 */
export function parseInstance(key: string, text: string, nowMs: number): Instance {
  const { members, claim, ...stored } = parseStored(key, text, storedInstance)
  return {
    ...stored,
    id: parseTaskId(stored.id),
    appId: parseAppId(stored.appId),
    agentId: parseAgentId(stored.agentId),
    networks: [],
    goal: { kind: stored.goal },
    phase: { kind: 'recovered', sinceMs: nowMs },
    ...(members === undefined ? {} : { members: members.map(unknownMember(stored.createdAtMs)) }),
    ...(claim === undefined ? {} : { claim: parseTaskId(claim) }),
  }
}

/** @throws ERR_SERVICES_STORED when it is no claim */
export function parseClaim(key: string, text: string): Claim {
  const { id, appId, agentId, reservation, ...rest } = parseStored(key, text, storedClaim)
  const resources = { ...reservation.resources, ports: [] } // an instance's ports are never reserved
  return {
    ...{ ...rest, id: parseTaskId(id), appId: parseAppId(appId), agentId: parseAgentId(agentId) },
    reservation: { ...reservation, resources },
  }
}

function unknownMember(sinceMs: number): (stored: Pick<Member, 'name' | 'checked'>) => Member {
  return (stored) => ({ ...stored, state: 'TASK_UNKNOWN', sinceMs, networks: [] })
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

/** True for keys of groups. */
export const isGroupKey = (key: string): boolean => key.startsWith(`${groupPrefix}/`)
/** True for keys of apps. */
export const isAppKey = (key: string): boolean => key.startsWith(`${appPrefix}/`)
/** True for keys of claims. */
export const isClaimKey = (key: string): boolean => key.startsWith(claimPrefix)
/** True for keys of instances. */
export const isInstanceKey = (key: string): boolean => key.startsWith(instancePrefix)
