import { type AppId } from './ids.ts'
import { stableJson } from './json.ts'
import { type AppFields } from './schema.ts'

/** An app that may run: every default filled in, checked across fields. Only `parseApp` makes one. */
export interface AppDefinition extends Omit<AppFields, 'id'> {
  readonly id: AppId
}

/** What a deployment does. Source: marathon, DeploymentAction. */
export type DeploymentAction = 'StartApplication' | 'ScaleApplication' | 'RestartApplication' | 'StopApplication'

/** A change of one app on its way. It is over when the app's instances are what its definition says. */
export interface Deployment {
  readonly id: string
  readonly action: DeploymentAction
  readonly startedAtMs: number
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
}

/** How many instances there should be. */
export function wantedInstances(record: AppRecord): number {
  return record.goal === 'delete' ? 0 : record.definition.instances
}

/** Everything of a definition that an instance was made from, as text: equal text, no restart. */
export function configFingerprint(definition: AppDefinition): string {
  const { instances, upgradeStrategy, killSelection, ...config } = definition
  const { backoffSeconds, backoffFactor, maxLaunchDelaySeconds, ...needsRestart } = config
  return stableJson(needsRestart)
}
