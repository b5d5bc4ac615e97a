import { type AppId, type GroupId } from './ids.ts'

/** A group as it was before a deployment. */
export interface FormerGroup {
  readonly dependencies: readonly string[]
  readonly version: number
}

/**
 * What is kept of a group: one that was made or changed as a group. Others are there while they hold apps, and have no
 * record.
 */
export interface GroupRecord {
  readonly id: GroupId
  /** Absolute paths of apps and groups: everything in this group depends on them. */
  readonly dependencies: readonly string[]
  readonly version: number
  /** Versions that can be gone back to, the oldest first. */
  readonly history: readonly number[]
  /** `delete`: goes when its deployment is over. */
  readonly goal: 'run' | 'delete'
  /** The deployment that changed it, while it is on its way. `before` absent: it had no record. */
  readonly deployment?: { readonly id: string; readonly before?: FormerGroup }
}

/** A group at one time: which version each app below it had, and what each group in it depended on. */
export interface GroupVersion {
  readonly id: GroupId
  readonly version: number
  readonly apps: Readonly<Record<AppId, number>>
  readonly groups: Readonly<Record<GroupId, readonly string[]>>
}
