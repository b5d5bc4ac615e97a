import { AppError } from '../base/errors.ts'
import { type AppRecord } from './app.ts'
import { cancelDeployment } from './cancel.ts'
import { type AppChange, type CommandContext, type Deployed, startDeployment } from './deploy.ts'
import { type Draft } from './draft.ts'
import { type AppId } from './ids.ts'

/** DELETE of a deployment with force: it is given up. @throws ERR_SERVICES_UNKNOWN */
export function abandonDeployment({ draft }: CommandContext, id: string): readonly AppId[] {
  requireDeployment(draft, id)
  return cancelDeployment(draft, id)
}

/**
 * Back to what was before a deployment, by a new one in its place. Instances that still run of what was before are kept.
 * @throws ERR_SERVICES_UNKNOWN
 */
export function rollBackDeployment(context: CommandContext, id: string): Deployed {
  const { draft } = context
  requireDeployment(draft, id)
  const { apps, groups } = draft.members(id)
  const changes = [...apps].flatMap((app) => formerChange(draft.app(app)))
  const ofGroups = [...groups].flatMap((group) => {
    const former = draft.group(group)?.deployment?.before
    const goal = former === undefined ? ('delete' as const) : ('run' as const)
    return [{ id: group, goal, dependencies: former?.dependencies ?? [] }]
  })
  return startDeployment(context, { apps: changes, groups: ofGroups }, { lock: 'force' })
}

function formerChange(record: AppRecord | undefined): readonly AppChange[] {
  if (record === undefined) return []
  const before = record.deployment?.before
  if (before === undefined) return [{ definition: record.definition, goal: 'delete', restart: 'when-changed' }]
  return [{ definition: before.definition, goal: 'run', restart: 'when-changed', config: before }]
}

function requireDeployment(draft: Draft, id: string): void {
  const { apps, groups } = draft.members(id)
  if (apps.size > 0 || groups.size > 0) return
  throw new AppError('ERR_SERVICES_UNKNOWN', `DeploymentPlan ${id} does not exist`)
}
