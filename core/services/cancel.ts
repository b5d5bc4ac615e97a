import { type AppRecord } from './app.ts'
import { type Draft } from './draft.ts'
import { type AppId } from './ids.ts'
import { removeGroup } from './turn-deployment.ts'

/**
 * A deployment is given up where it is: apps that it had not come to are what they were, those that it was replacing keep
 * the instances that they have, and what goes away goes on going. `except`: apps that get something else at once.
 * @returns apps to look at
 */
export function cancelDeployment(draft: Draft, id: string, except: ReadonlySet<AppId> = new Set()): readonly AppId[] {
  const { apps, groups } = draft.members(id)
  for (const group of groups) {
    const record = draft.group(group)
    if (record === undefined) continue
    const { deployment: _, ...rest } = record
    if (record.goal === 'delete') removeGroup(draft, record)
    else draft.put({ kind: 'group.put', record: rest })
  }
  const others = [...apps].filter((app) => !except.has(app))
  for (const app of others) {
    const record = draft.app(app)
    if (record !== undefined) giveUp(draft, record)
  }
  return others
}

function giveUp(draft: Draft, record: AppRecord): void {
  const { deployment, ...rest } = record
  const { id } = record.definition
  if (deployment?.state === 'waiting') {
    if (deployment.before === undefined) draft.put({ kind: 'app.remove', id })
    else draft.put({ kind: 'app.put', record: { ...rest, ...deployment.before, goal: 'run' } })
    return
  }
  const isHalfway = deployment?.state === 'active' && deployment.action === 'RestartApplication'
  draft.put({ kind: 'app.put', record: isHalfway ? { ...rest, mixed: true } : rest })
}
