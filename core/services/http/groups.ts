import { type FastifyInstance, type FastifyReply } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { type AppDefinition } from '../app.ts'
import {
  createGroup,
  deleteGroup,
  type FormerState,
  groupExists,
  revertGroup,
  scaleGroup,
  unknownGroup,
  updateGroup,
} from '../commands-group.ts'
import { type CommandContext, type Deployed } from '../deploy.ts'
import { openDraft } from '../draft.ts'
import { type AppId, type GroupId, parseGroupId, rootGroup } from '../ids.ts'
import { groupIdOf, parseGroupRequest } from '../parse-group.ts'
import { type Embed } from '../present.ts'
import { stepsJson } from '../present-deployment.ts'
import { type GroupEmbed, groupJson } from '../present-group.ts'
import { invalidApp } from '../problem.ts'
import { type ServicesApi } from '../services.ts'
import { formatVersion } from '../version.ts'
import { readFlag, readList, readLock } from './request.ts'
import { deploymentBody, withDeployment } from './reply.ts'

/** Requests to a path below /v2/groups. */
interface Below {
  readonly Params: { readonly '*': string }
}

/** What a path below /v2/groups names. */
type GroupTarget =
  | { readonly kind: 'group'; readonly id: GroupId }
  | { readonly kind: 'versions'; readonly id: GroupId }
  | { readonly kind: 'version'; readonly id: GroupId; readonly version: string }

/** /v2/groups and everything below it. */
export function groupRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/groups', (request) => groupJson(api, rootGroup, readGroupEmbed(request.query)))
  app.get<Below>('/v2/groups/*', async (request, reply) => {
    const target = parseGroupTarget(request.params['*'])
    if (!groupExists(api.world, target.id)) throw unknownGroup(target.id)
    if (target.kind === 'versions') return reply.send(versionsOf(api, target.id))
    if (target.kind === 'version') return reply.send(await formerJson(api, target.id, target.version))
    return reply.send(groupJson(api, target.id, readGroupEmbed(request.query)))
  })
  app.post('/v2/groups', (request, reply) => create(api, { base: rootGroup, ...about(request), reply }))
  app.post<Below>('/v2/groups/*', (request, reply) =>
    create(api, { base: groupAt(request.params['*']), ...about(request), reply }),
  )
  for (const method of ['PUT', 'PATCH'] as const) {
    app.route({
      method,
      url: '/v2/groups',
      handler: (request, reply) => put(api, { id: rootGroup, ...about(request), reply }),
    })
    app.route<Below>({
      method,
      url: '/v2/groups/*',
      handler: (request, reply) => put(api, { id: groupAt(request.params['*']), ...about(request), reply }),
    })
  }
  app.delete('/v2/groups', (request, reply) => remove(api, { id: rootGroup, ...about(request), reply }))
  app.delete<Below>('/v2/groups/*', (request, reply) =>
    remove(api, { id: groupAt(request.params['*']), ...about(request), reply }),
  )
}

interface Asked {
  readonly query: unknown
  readonly body: unknown
}

const about = ({ query, body }: Asked): Asked => ({ query, body })

interface GroupCall extends Asked {
  readonly id: GroupId
  readonly reply: FastifyReply
}

async function create(
  api: ServicesApi,
  { base, query, body, reply }: Asked & { readonly base: GroupId; readonly reply: FastifyReply },
): Promise<FastifyReply> {
  const named = groupIdOf(body, base)
  // Below a path, the body may repeat the path's id, or leave it out.
  const id = named ?? (base === rootGroup ? undefined : base)
  if (id === undefined) throw invalidApp([{ path: '/id', errors: ['give the id of the group'] }])
  const deployed = await api.deploy((context) => createGroup(context, body, { id, ...readLock(query) }))
  return withDeployment(reply.code(201), deployed).header('Location', `/v2/groups${id}`).send(deploymentBody(deployed))
}

async function put(api: ServicesApi, { id, query, body, reply }: GroupCall): Promise<FastifyReply> {
  const command = await updateCommand(api, { id, query, body })
  if (readFlag(query, 'dryRun') === 'true') {
    const { records } = await api.submit((context) => {
      // On a draft of its own, which is dropped: nothing of it is done.
      return { reply: command({ ...context, draft: openDraft(context.draft) }), apps: [] }
    })
    return reply.send({ steps: stepsJson(records) })
  }
  const deployed = await api.deploy(command)
  const answer = withDeployment(reply.code(deployed.outcome === 'created' ? 201 : 200), deployed)
  return answer.send(deploymentBody(deployed))
}

async function updateCommand(
  api: ServicesApi,
  { id, query, body }: Asked & { readonly id: GroupId },
): Promise<(context: CommandContext) => Deployed> {
  const options = { id, ...readLock(query) }
  const named = groupIdOf(body, id)
  if (named !== undefined && named !== id && groupIdOf(body, rootGroup) !== id) {
    throw invalidApp([{ path: '/id', errors: [`is not ${id}, the id of the path: a group cannot be renamed`] }])
  }
  const version = versionAsked(body)
  const former = version === undefined ? undefined : await readFormer(api, id, version)
  if (former !== undefined) return (context) => revertGroup(context, former, options)
  return (context) => {
    const request = parseGroupRequest(body, id, context.check)
    if (request.kind === 'scale') return scaleGroup(context, request.by, options)
    if (request.kind === 'version') throw unknownGroup(id)
    return updateGroup(context, request.update, options)
  }
}

function versionAsked(body: unknown): string | undefined {
  const entries = Object.entries(Object(body)).filter(([key]) => key !== 'id')
  const [only] = entries
  return entries.length === 1 && only?.[0] === 'version' && typeof only[1] === 'string' ? only[1] : undefined
}

async function remove(api: ServicesApi, { id, query, reply }: GroupCall): Promise<FastifyReply> {
  const deployed = await api.deploy((context) => deleteGroup(context, { id, ...readLock(query) }))
  return withDeployment(reply, deployed).send(deploymentBody(deployed))
}

function versionsOf({ world }: ServicesApi, id: GroupId): readonly string[] {
  return (world.group(id)?.history ?? []).toReversed().map(formatVersion)
}

/** A group of earlier, with its apps' definitions. @throws ERR_SERVICES_UNKNOWN */
async function readFormer(api: ServicesApi, id: GroupId, version: string): Promise<FormerState> {
  const wanted = Date.parse(version)
  const isKept = api.world.group(id)?.history.includes(wanted) === true
  const state = isKept ? await api.versions.group(id, wanted) : undefined
  if (state === undefined) {
    throw new AppError(
      'ERR_SERVICES_UNKNOWN',
      `Group '${id}' has no version '${version}': see /v2/groups${id}/versions`,
    )
  }
  const definitions: AppDefinition[] = []
  for (const [app, of] of Object.entries(state.apps)) {
    const definition = await api.versions.app(app as AppId, of)
    if (definition === undefined) {
      const message = `version ${formatVersion(of)} of ${app}, which the group had then, is not kept any more`
      throw new AppError('ERR_SERVICES_UNKNOWN', message)
    }
    definitions.push(definition)
  }
  return { state, definitions }
}

async function formerJson(api: ServicesApi, id: GroupId, version: string): Promise<unknown> {
  const { state, definitions } = await readFormer(api, id, version)
  const groups = Object.entries(state.groups).map(([group, dependencies]) => ({ id: group, dependencies }))
  return {
    id,
    version: formatVersion(state.version),
    apps: definitions,
    pods: [],
    groups: groups.filter((g) => g.id !== id),
  }
}

function parseGroupTarget(path: string): GroupTarget {
  const segments = path.split('/').filter((segment) => segment !== '')
  const last = segments.at(-1)
  if (last === 'versions') return { kind: 'versions', id: groupAt(segments.slice(0, -1).join('/')) }
  if (segments.at(-2) === 'versions' && last !== undefined) {
    return { kind: 'version', id: groupAt(segments.slice(0, -2).join('/')), version: last }
  }
  return { kind: 'group', id: groupAt(path) }
}

function groupAt(path: string): GroupId {
  try {
    return parseGroupId(path)
  } catch {
    throw unknownGroup(`/${path}`) // ERR_SERVICES_ID: there can be no such group
  }
}

const appEmbeds: Readonly<Record<string, readonly Embed[]>> = {
  'group.apps': [],
  'group.apps.tasks': ['tasks'],
  'group.apps.counts': ['counts'],
  'group.apps.deployments': ['deployments'],
  'group.apps.lastTaskFailure': ['lastTaskFailure'],
  'group.apps.readiness': [],
  'group.apps.taskStats': [],
}

/** Source: marathon, GroupsResource: without `embed`, groups and apps. */
function readGroupEmbed(query: unknown): GroupEmbed {
  const names = readList(query, 'embed')
  if (names.length === 0) return { groups: true, apps: new Set() }
  const ofApps = names.filter((name) => Object.hasOwn(appEmbeds, name))
  const embeds = new Set(ofApps.flatMap((name) => appEmbeds[name] ?? []))
  return { groups: names.includes('group.groups'), apps: ofApps.length === 0 ? undefined : embeds }
}
