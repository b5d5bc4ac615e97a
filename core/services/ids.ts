import { AppError } from '../base/errors.ts'
import { parseTaskId, type TaskId } from '../model/ids.ts'

declare const appIdBrand: unique symbol

/** Absolute path of an app: `/shop/web`. Only {@link parseAppId} makes one. */
export type AppId = string & { readonly [appIdBrand]: true }

const segmentPattern = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/
/** Last segments that are also paths below an app. Source: marathon, Validation of PathId. */
const reservedSegments: ReadonlySet<string> = new Set(['restart', 'tasks', 'versions'])
/** A task id is at most 255 characters: this leaves room for `.` and a UUID. */
const maxLength = 200

/**
 * A relative id is taken from the root: `web` → `/web`.
 * @throws ERR_SERVICES_ID
 */
export function parseAppId(text: string): AppId {
  const path = text.startsWith('/') ? text : `/${text}`
  const segments = path.slice(1).split('/')
  if (path.length > maxLength) throw new AppError('ERR_SERVICES_ID', `an app id has at most ${maxLength} characters`)
  const bad = segments.find((segment) => !segmentPattern.test(segment))
  if (bad !== undefined) {
    throw new AppError(
      'ERR_SERVICES_ID',
      `"${bad}" cannot be a part of an app id: lower-case letters, digits, inner "-" and "."`,
    )
  }
  const last = segments.at(-1)
  if (last !== undefined && reservedSegments.has(last)) {
    throw new AppError('ERR_SERVICES_ID', `an app id cannot end in "${last}", which is a path of the API`)
  }
  return path as AppId
}

declare const groupIdBrand: unique symbol

/** Absolute path of a group: `/shop`, or `/`, which holds all. Only {@link parseGroupId} makes one. */
export type GroupId = string & { readonly [groupIdBrand]: true }

/** The group of all groups. */
export const rootGroup = '/' as GroupId

/** A path from `base`, `.` and `..` resolved: `../db` from `/shop/web` → `/shop/db`. Above the root is the root. */
export function resolvePath(text: string, base: string): string {
  const segments: string[] = []
  for (const segment of (text.startsWith('/') ? text : `${base}/${text}`).split('/')) {
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  return `/${segments.join('/')}`
}

/** @throws ERR_SERVICES_ID */
export function parseGroupId(text: string, base: string = rootGroup): GroupId {
  const path = resolvePath(text, base)
  return path === rootGroup ? rootGroup : (parseAppId(path) as string as GroupId)
}

/** The group that an app or a group is in. */
export function parentOf(id: AppId | GroupId): GroupId {
  return (id.slice(0, id.lastIndexOf('/')) || rootGroup) as GroupId
}

/** True when `id` is in the group or in a group below it. */
export function isBelow(id: AppId | GroupId, group: GroupId): boolean {
  return group === rootGroup ? id !== rootGroup : id.startsWith(`${group}/`)
}

/** `/shop/web` → `shop_web.<uuid>`, as Marathon. Segments have no `_`, so {@link appIdOfTask} is exact. */
export function taskIdOf(app: AppId, uuid: string): TaskId {
  return parseTaskId(`${app.slice(1).replaceAll('/', '_')}.${uuid}`)
}

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The app that made a task id; undefined when no app of ours makes such ids. */
export function appIdOfTask(task: TaskId): AppId | undefined {
  const dot = task.lastIndexOf('.')
  if (dot < 0 || !uuidPattern.test(task.slice(dot + 1))) return undefined
  try {
    return parseAppId(`/${task.slice(0, dot).replaceAll('_', '/')}`)
  } catch {
    return undefined // ERR_SERVICES_ID: another framework's way to name tasks
  }
}

/** Name for discovery, segments reversed as Marathon does: `/shop/web` → `web.shop`, so `web-shop.marathon.mesos`. */
export function taskNameOf(app: AppId): string {
  return app.slice(1).split('/').toReversed().join('.')
}

/** The groups that hold an app, as ids that no app may have then: `/a/b/c` → `/a`, `/a/b`. */
export function groupsOf(app: AppId | GroupId): readonly AppId[] {
  const segments = app.slice(1).split('/').slice(0, -1)
  return segments.map((_, i) => `/${segments.slice(0, i + 1).join('/')}` as AppId)
}

/** The groups that hold an app or a group, the root first. */
export function ancestorsOf(id: AppId | GroupId): readonly GroupId[] {
  return id === rootGroup ? [] : [rootGroup, ...groupsOf(id).map((group) => group as string as GroupId)]
}
