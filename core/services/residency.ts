import { type AppDefinition } from './app.ts'
import { isObject, type JsonObject, stableJson } from '../scheduling/json.ts'
import { type Finding } from '../scheduling/problem.ts'
import { type AppFields } from './schema.ts'

/** A persistent volume that an app asks for. */
export interface WantedVolume {
  readonly containerPath: string
  readonly sizeMb: number
}

/** An instance that comes back after its agent was given up is known for so long. */
const forgetAfterSeconds = 604_800

/** The persistent volumes of each instance. */
export function persistentVolumes({ container }: Pick<AppFields, 'container'>): readonly WantedVolume[] {
  return (container?.volumes ?? []).flatMap((volume) =>
    'persistent' in volume ? [{ containerPath: volume.containerPath, sizeMb: volume.persistent.size }] : [],
  )
}

/** True when the app's instances keep an agent and volumes. */
export function isResident(app: Pick<AppFields, 'container'>): boolean {
  return persistentVolumes(app).length > 0
}

/**
 * Defaults of an app with persistent volumes: half of the instances may be away in an update, none is doubled, and one whose
 * agent is out of reach is waited for, as long as `residency` says. Source: marathon, UpgradeStrategy.forResidentTasks,
 * UnreachableStrategy.defaultFor.
 */
export function residentDefaults(app: JsonObject): JsonObject {
  const container = app['container']
  const volumes: unknown = isObject(container) ? container['volumes'] : undefined
  const isOne = Array.isArray(volumes) && volumes.some((volume: unknown) => isObject(volume) && 'persistent' in volume)
  if (!isOne) return app
  const given: unknown = app['residency'] ?? {}
  const { relaunchEscalationTimeoutSeconds: after = 3600, taskLostBehavior: lost = 'WAIT_FOREVER' } = isObject(given)
    ? given
    : {}
  const relaunched =
    lost === 'RELAUNCH_AFTER_TIMEOUT' && typeof after === 'number'
      ? { inactiveAfterSeconds: after, expungeAfterSeconds: after + forgetAfterSeconds }
      : 'disabled'
  return {
    upgradeStrategy: { minimumHealthCapacity: 0.5, maximumOverCapacity: 0 },
    unreachableStrategy: relaunched,
    residency: given,
    ...app,
  }
}

/** What is wrong with an app's residency. `role`: the one that the framework can reserve for. */
export function checkResidency(app: AppFields, role: string): readonly Finding[] {
  if (!isResident(app)) {
    return app.residency === undefined ? [] : [{ path: '/residency', error: 'is for apps with persistent volumes' }]
  }
  const findings: Finding[] = []
  if (app.upgradeStrategy.maximumOverCapacity !== 0) {
    const error = 'must be 0: an instance with a persistent volume is never doubled'
    findings.push({ path: '/upgradeStrategy/maximumOverCapacity', error })
  }
  if (!app.acceptedResourceRoles.includes('*')) {
    findings.push({ path: '/acceptedResourceRoles', error: 'must have "*": volumes are made of unreserved resources' })
  }
  if (role === '*') {
    const error = 'nothing can be reserved for the role "*": give the master another --service-role'
    findings.push({ path: '/residency', error })
  }
  return findings
}

/**
 * What changes of what its volumes and reservations were made from, while there are some; undefined: nothing does.
 * Source: marathon, AppDefinition.residentUpdateIsValid.
 */
export function residentProblem(before: AppDefinition, after: AppDefinition): string | undefined {
  const volumes = (app: AppDefinition) => stableJson(persistentVolumes(app))
  if (volumes(before) !== volumes(after)) return 'persistent volumes can not be changed: delete the app first'
  const { cpus, mem, disk } = after
  const same = before.cpus === cpus && before.mem === mem && before.disk === disk
  return same ? undefined : 'cpus, mem and disk are reserved with the volumes and can not be changed'
}
