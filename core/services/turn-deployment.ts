import { type AppRecord, type Deployment } from './app.ts'
import { type Draft } from './draft.ts'
import { type GroupRecord } from './group.ts'
import { type AppId, ancestorsOf } from './ids.ts'
import { isOccupying } from './instance.ts'

/** A deployment that is over. */
export interface FinishedDeployment {
  readonly id: string
  readonly version: number
  readonly apps: readonly AppId[]
}

/** A step that is over. */
export interface StepDone {
  readonly id: string
  /** Counted from 1. */
  readonly step: number
}

/** What comes after an app of a deployment is done. */
export type Advance =
  | { readonly kind: 'finished'; readonly deployment: FinishedDeployment; readonly removed: readonly AppId[] }
  | { readonly kind: 'step'; readonly step: StepDone; readonly started: readonly AppId[] }
  | { readonly kind: 'going-on' }

type Member = AppRecord & { readonly deployment: Deployment }

/** Starts the next step when one is over, and ends the deployment after the last. The members' records say all of it. */
export function advanceDeployment(draft: Draft, id: string): Advance {
  const members = [...draft.members(id).apps].flatMap((app) => memberOf(draft.app(app)))
  const open = members.filter(({ deployment }) => deployment.state !== 'done')
  if (open.length === 0) return finish(draft, id, members)
  const step = open.reduce((min, { deployment }) => Math.min(min, deployment.step), Infinity)
  const started = open.filter(({ deployment }) => deployment.step === step && deployment.state === 'waiting')
  if (started.length === 0) return { kind: 'going-on' }
  for (const record of started) {
    draft.put({ kind: 'app.put', record: { ...record, deployment: { ...record.deployment, state: 'active' } } })
  }
  return { kind: 'step', step: { id, step: step - 1 }, started: started.map(({ definition }) => definition.id) }
}

function memberOf(record: AppRecord | undefined): readonly Member[] {
  const { deployment } = record ?? {}
  return record === undefined || deployment === undefined ? [] : [{ ...record, deployment }]
}

function finish(draft: Draft, id: string, members: readonly Member[]): Advance {
  const removed: AppId[] = []
  for (const { deployment: _, ...record } of members) {
    if (record.goal === 'run') draft.put({ kind: 'app.put', record })
    else {
      removeApp(draft, record)
      removed.push(record.definition.id)
    }
  }
  for (const group of draft.members(id).groups) {
    const record = draft.group(group)
    if (record === undefined) continue
    const { deployment: _, ...rest } = record
    if (record.goal === 'delete') removeGroup(draft, record)
    else draft.put({ kind: 'group.put', record: rest })
  }
  const version = members.reduce((max, record) => Math.max(max, record.version), 0)
  const apps = members.map(({ definition }) => definition.id)
  return { kind: 'finished', deployment: { id, version, apps }, removed }
}

/** The group's record goes, with the versions of it. */
export function removeGroup(draft: Draft, { id, history }: GroupRecord): void {
  draft.put({ kind: 'group.remove', id })
  for (const version of history) draft.put({ kind: 'group-version.remove', id, version })
}

/** The app goes, with its volumes, what is known of instances that nobody can reach, and its versions that no group goes back to. */
export function removeApp(draft: Draft, { definition: { id }, history }: AppRecord): void {
  for (const instance of draft.instancesOf(id)) {
    if (!isOccupying(instance)) draft.put({ kind: 'instance.remove', instance })
  }
  for (const claim of draft.claimsOf(id)) draft.put({ kind: 'claim.put', claim: { ...claim, state: 'leaving' } })
  draft.put({ kind: 'app.remove', id })
  // Versions of a group name those of its apps: what is left of them is looked through later.
  const isKept = ancestorsOf(id).some((group) => (draft.group(group)?.history.length ?? 0) > 0)
  if (!isKept) for (const version of history) draft.put({ kind: 'version.remove', id, version })
}
