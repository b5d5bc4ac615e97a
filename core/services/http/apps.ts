import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { type Deployed } from '../deploy.ts'
import {
  createApp,
  deleteApp,
  restartApp,
  revertApp,
  unknownApp,
  updateApp,
  updateApps,
  versionAsked,
} from '../commands.ts'
import { type AppId } from '../ids.ts'
import { appJson, type Embed } from '../present.ts'
import { type ServicesApi } from '../services.ts'
import { type AppTarget, parseTarget, readFlag, readList, readLock, readTexts } from './request.ts'
import { parseSelector } from './selector.ts'
import { deploymentBody, withDeployment } from './reply.ts'
import { deleteAppTask, deleteAppTasks, listAppTasks } from './tasks.ts'
import { listVersions, readVersion, sendVersion } from './versions.ts'

/** Source: marathon, AppsResource: what one app, and a list, show when not told. */
const embedOne: readonly Embed[] = ['tasks', 'counts', 'deployments', 'lastTaskFailure']
const embedList: readonly Embed[] = ['counts', 'deployments']
const embedNames: Readonly<Record<string, readonly Embed[]>> = {
  tasks: ['tasks', 'deployments'],
  counts: ['counts'],
  deployments: ['deployments'],
  lastTaskFailure: ['lastTaskFailure'],
  failures: ['lastTaskFailure'],
  readiness: [],
  taskStats: [],
}

/** Requests to a path below /v2/apps. */
interface Below {
  readonly Params: { readonly '*': string }
}

/** /v2/apps and everything below it. */
export function appRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/apps', (request) => ({ apps: listApps(api, request.query) }))
  app.post('/v2/apps', async (request, reply) => {
    const deployed = await api.deploy((context) => createApp(context, request.body))
    const id = deployed.records[0]?.definition.id
    const answer = withDeployment(reply.code(201), deployed).header('Location', `/v2/apps${id}`)
    return answer.send(deployedApp(api, deployed))
  })
  updateRoutes(app, api, 'PUT')
  updateRoutes(app, api, 'PATCH')
  app.get<Below>('/v2/apps/*', (request, reply) => {
    const target = targetOf(api, request.params['*'])
    if (target.kind === 'tasks') return listAppTasks(api, target.id, { request, reply })
    if (target.kind === 'versions') return reply.send(listVersions(api, target.id))
    if (target.kind === 'version') return sendVersion(api, target, reply)
    return reply.send({ app: oneApp(api, requireKind(target, 'app').id, request.query) })
  })
  app.delete<Below>('/v2/apps/*', async (request, reply) => {
    const target = targetOf(api, request.params['*'])
    if (target.kind === 'tasks') return deleteAppTasks(api, { target, query: request.query, reply })
    if (target.kind === 'task') return deleteAppTask(api, { target, query: request.query, reply })
    const { id } = requireKind(target, 'app')
    const deployed = await api.deploy((context) => deleteApp(context, id, readLock(request.query)))
    return withDeployment(reply, deployed).send(deploymentBody(deployed))
  })
  app.post<Below>('/v2/apps/*', async (request, reply) => {
    const { id } = requireKind(targetOf(api, request.params['*']), 'restart')
    const deployed = await api.deploy((context) => restartApp(context, id, readLock(request.query)))
    return withDeployment(reply, deployed).send(deploymentBody(deployed))
  })
}

function updateRoutes(app: FastifyInstance, api: ServicesApi, method: 'PUT' | 'PATCH'): void {
  app.route({
    method,
    url: '/v2/apps',
    handler: async (request, reply) => {
      const options = { ...readLock(request.query), ...updateKind(method, request.query) }
      const deployed = await api.deploy((context) => updateApps(context, request.body, options))
      return withDeployment(reply, deployed).send(deploymentBody(deployed))
    },
  })
  app.route<Below>({
    method,
    url: '/v2/apps/*',
    handler: async (request, reply) => {
      const { id } = requireKind(targetOf(api, request.params['*']), 'app')
      const options = { id, ...readLock(request.query), ...updateKind(method, request.query) }
      const version = versionAsked(request.body)
      const former = version === undefined ? undefined : await readVersion(api, id, version)
      const deployed = await api.deploy((context) =>
        former === undefined ? updateApp(context, request.body, options) : revertApp(context, former, options),
      )
      const answer = withDeployment(reply.code(deployed.outcome === 'created' ? 201 : 200), deployed)
      return answer.send(deploymentBody(deployed))
    },
  })
}

function updateKind(
  method: 'PUT' | 'PATCH',
  query: unknown,
): { fields: 'keep-others' | 'replace'; missing: 'create' | 'refuse' } {
  const partial = readFlag(query, 'partialUpdate', 'true') === 'true'
  return { fields: partial ? 'keep-others' : 'replace', missing: method === 'PUT' ? 'create' : 'refuse' }
}

/** @throws ERR_SERVICES_UNKNOWN also for a pod */
function targetOf({ world }: ServicesApi, path: string): AppTarget {
  const target = parseTarget(path)
  if (world.app(target.id)?.definition.pod !== undefined) throw unknownApp(target.id)
  return target
}

function requireKind<Kind extends AppTarget['kind']>(
  target: AppTarget,
  kind: Kind,
): AppTarget & { readonly kind: Kind } {
  if (isKind(target, kind)) return target
  throw new AppError('ERR_SERVICES_UNKNOWN', `there is no such method for ${target.id} (${target.kind})`)
}

function isKind<Kind extends AppTarget['kind']>(
  target: AppTarget,
  kind: Kind,
): target is AppTarget & { readonly kind: Kind } {
  return target.kind === kind
}

function listApps(api: ServicesApi, query: unknown): readonly unknown[] {
  const embed = readEmbed(query, embedList)
  const [cmd, id] = ['cmd', 'id'].map((name) => readList(query, name)[0])
  const selectors = readTexts(query, 'label').map(parseSelector)
  return [...api.world.apps()]
    .filter(({ definition }) => definition.pod === undefined)
    .filter(({ definition }) => cmd === undefined || definition.cmd?.includes(cmd) === true)
    .filter(({ definition }) => id === undefined || definition.id.includes(id))
    .filter(({ definition }) => selectors.every((matches) => matches(definition.labels)))
    .toSorted((a, b) => (a.definition.id < b.definition.id ? -1 : 1))
    .flatMap(({ definition }) => api.facts(definition.id) ?? [])
    .map((facts) => appJson(facts, embed))
}

function readEmbed(query: unknown, fallback: readonly Embed[]): ReadonlySet<Embed> {
  const names = readList(query, 'embed')
  const all = names.flatMap((name) => embedNames[name.replace(/^apps?\./, '')] ?? [])
  return new Set([...fallback, ...all])
}

function oneApp(api: ServicesApi, id: AppId, query: unknown): unknown {
  const facts = api.facts(id)
  if (facts === undefined || facts.record.definition.pod !== undefined) throw unknownApp(id)
  return appJson(facts, readEmbed(query, embedOne))
}

function deployedApp(api: ServicesApi, { records }: Deployed): unknown {
  const record = records[0]
  if (record === undefined) return {}
  // It may be over already: what was deployed is told, not what came of it meanwhile.
  const runtime = api.facts(record.definition.id)?.runtime
  return runtime === undefined
    ? appJson({ record, instances: [], runtime: { backoff: { delayMs: 0, untilMs: 0 } } }, new Set(embedList))
    : appJson({ record, instances: [], runtime }, new Set([...embedList, 'tasks']))
}
