import { type AppId } from './ids.ts'
import { stableJson } from '../scheduling/json.ts'
import { type AppFields } from './schema.ts'

/** An app that may run: every default filled in, checked across fields. Only `parseApp` makes one. */
export interface AppDefinition extends Omit<AppFields, 'id'> {
  readonly id: AppId
}

/** What a deployment does. Source: marathon, DeploymentAction. */
export type DeploymentAction = 'StartApplication' | 'ScaleApplication' | 'RestartApplication' | 'StopApplication'

/** An app as it was before a deployment: what it goes on as until its step, and what a rollback goes back to. */
export interface Former {
  readonly definition: AppDefinition
  readonly version: number
  readonly configVersion: number
  readonly scalingVersion: number
  readonly mixed?: true
}

/**
 * What a deployment does with one app; the apps with one `id` are a deployment. Its steps begin one after the other, each
 * when the one before is done. All of it is in the apps' records, so a new leader goes on where the old one was.
 */
export interface Deployment {
  readonly id: string
  readonly action: DeploymentAction
  readonly startedAtMs: number
  /** Counted from 1. */
  readonly step: number
  /** `waiting`: for earlier steps; the app goes on as before. `done`: it is what it should be; others are not yet. */
  readonly state: 'waiting' | 'active' | 'done'
  /** Absent: the app did not exist. */
  readonly before?: Former
}

/** An app as it is kept. Times are of the wall clock; versions of one app only grow. */
export interface AppRecord {
  readonly definition: AppDefinition
  /** Of the last change of anything. */
  readonly version: number
  /** Of the last change that needs new instances: instances with another one are outdated. */
  readonly configVersion: number
  /** Of the last change of `instances`. */
  readonly scalingVersion: number
  /** Going away: nothing is launched, the record goes with the last instance. */
  readonly goal: 'run' | 'delete'
  readonly deployment?: Deployment
  /** Versions that can be gone back to, the oldest first; at most {@link maxVersions}. */
  readonly history: readonly number[]
  /** A deployment was given up halfway: instances of other configurations are left as they are. */
  readonly mixed?: true
}

/** Source: marathon, --zk_max_versions. */
export const maxVersions = 50

/** What an app's instances are to be now: as before, while its deployment has not come to it. */
export function presentRecord(record: AppRecord): AppRecord {
  const { deployment } = record
  if (deployment?.state !== 'waiting') return record
  if (deployment.before === undefined) return { ...record, goal: 'delete' }
  const { mixed: _, ...rest } = record
  return { ...rest, ...deployment.before, goal: 'run' }
}

/** How many instances there should be. */
export function wantedInstances(record: AppRecord): number {
  return record.goal === 'delete' ? 0 : record.definition.instances
}

/** Everything of a definition that an instance was made from, as text: equal text, no restart. */
export function configFingerprint(definition: AppDefinition): string {
  const { instances, upgradeStrategy, killSelection, dependencies, residency, ...config } = definition
  const { backoffSeconds, backoffFactor, maxLaunchDelaySeconds, ...needsRestart } = config
  return stableJson(needsRestart)
}
