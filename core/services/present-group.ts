import { type AppId, type GroupId, parentOf } from './ids.ts'
import { type JsonObject } from '../scheduling/json.ts'
import { type AppFacts, appJson, type Embed } from './present.ts'
import { podJson } from './pods-present.ts'
import { formatVersion } from './version.ts'
import { type WorldView } from './world.ts'

/** What of a group is shown. */
export interface GroupEmbed {
  readonly groups: boolean
  /** Undefined: no apps. */
  readonly apps: ReadonlySet<Embed> | undefined
}

/** What a group's JSON is made of. */
export interface GroupFacts {
  readonly world: Pick<WorldView, 'group' | 'groups' | 'appsBelow'>
  facts(id: AppId): AppFacts | undefined
}

interface Node {
  readonly apps: AppFacts[]
  readonly children: Set<GroupId>
}

/** A group and everything in it, as GET /v2/groups has it. Costs as much as the group is large. */
export function groupJson({ world, facts }: GroupFacts, id: GroupId, embed: GroupEmbed): JsonObject {
  const nodes = new Map<GroupId, Node>()
  const nodeOf = (group: GroupId): Node => {
    const known = nodes.get(group)
    if (known !== undefined) return known
    const made: Node = { apps: [], children: new Set() }
    nodes.set(group, made)
    if (group !== id) nodeOf(parentOf(group)).children.add(group)
    return made
  }
  nodeOf(id)
  for (const app of world.appsBelow(id)) {
    const known = facts(app)
    if (known !== undefined) nodeOf(parentOf(app)).apps.push(known)
  }
  for (const group of world.groups()) if (group.id === id || isIn(group.id, id)) nodeOf(group.id)
  const json = (group: GroupId): JsonObject => {
    const { apps, children } = nodeOf(group)
    const record = world.group(group)
    const newest = apps.reduce((max, { record: app }) => Math.max(max, app.version), record?.version ?? 0)
    return {
      id: group,
      ...(embed.apps === undefined ? {} : membersJson(apps, embed.apps)),
      ...(embed.groups ? { groups: [...children].map(json) } : {}),
      dependencies: record?.dependencies ?? [],
      version: formatVersion(newest),
      enforceRole: false,
    }
  }
  return json(id)
}

function membersJson(all: readonly AppFacts[], embed: ReadonlySet<Embed>): JsonObject {
  const isPod = ({ record }: AppFacts) => record.definition.pod !== undefined
  return {
    apps: all.filter((one) => !isPod(one)).map((one) => appJson(one, embed)),
    pods: all.filter(isPod).map(({ record }) => podJson(record)),
  }
}

function isIn(group: GroupId, other: GroupId): boolean {
  return other === '/' ? group !== '/' : group.startsWith(`${other}/`)
}
