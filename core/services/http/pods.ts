import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { deleteApp, killTasks } from '../commands.ts'
import { type AppId, parseAppId } from '../ids.ts'
import { createPod, unknownPod, updatePod } from '../pods.ts'
import { podInstanceJson, podJson, podStatusJson } from '../pods-present.ts'
import { type AppFacts } from '../present.ts'
import { instanceIdOf } from '../present-instance.ts'
import { type ServicesApi } from '../services.ts'
import { formatVersion } from '../version.ts'
import { withDeployment } from './reply.ts'
import { readLock } from './request.ts'
import { readVersion } from './versions.ts'

/** Requests to a path below /v2/pods. */
interface Below {
  readonly Params: { readonly '*': string }
}

/** /v2/pods: what is below is `{id}`, `{id}::status`, `::versions` or `::instances/{instance}`. */
export function podRoutes(app: FastifyInstance, api: ServicesApi): void {
  // Marathon's own code answers 200, its clients take any of these.
  app.head('/v2/pods', (_request, reply) => reply.code(204).send())
  app.get('/v2/pods', () => pods(api).map(({ record }) => podJson(record)))
  app.post('/v2/pods', async (request, reply) => {
    const deployed = await api.deploy((context) => createPod(context, request.body))
    const record = deployed.records[0]
    const answer = withDeployment(reply.code(201), deployed).header('Location', `/v2/pods${record?.definition.id}`)
    return answer.send(record === undefined ? {} : podJson(record))
  })
  app.get<Below>('/v2/pods/*', (request) => readPods(api, request.params['*']))
  app.put<Below>('/v2/pods/*', async (request, reply) => {
    const { id } = podAt(api, request.params['*'])
    const deployed = await api.deploy((context) => updatePod(context, request.body, { id, ...readLock(request.query) }))
    const record = deployed.records[0]
    return withDeployment(reply, deployed).send(record === undefined ? {} : podJson(record))
  })
  app.delete<Below>('/v2/pods/*', async (request, reply) => {
    const [path = '', what] = request.params['*'].split('::')
    const { id, facts } = podAt(api, path)
    if (what === 'instances') return reply.send(await killInstances(api, facts, instanceNames(request.body)))
    if (what !== undefined) {
      const [killed] = await killInstances(api, facts, [/^instances\/(.+)$/.exec(what)?.[1] ?? what])
      return reply.send(killed)
    }
    const deployed = await api.deploy((context) => deleteApp(context, id, readLock(request.query)))
    return withDeployment(reply.code(202), deployed).send()
  })
}

function pods({ world, facts }: ServicesApi): readonly AppFacts[] {
  const ids = [...world.apps()].filter(({ definition }) => definition.pod !== undefined)
  return ids.flatMap(({ definition }) => facts(definition.id) ?? [])
}

function podAt(api: ServicesApi, path: string): { readonly id: AppId; readonly facts: AppFacts } {
  const id = parseId(path)
  const facts = id === undefined ? undefined : api.facts(id)
  if (id === undefined || facts?.record.definition.pod === undefined) throw unknownPod(`/${path.replace(/^\/+/, '')}`)
  return { id, facts }
}

function parseId(path: string): AppId | undefined {
  try {
    return parseAppId(path.replace(/^\/+/, ''))
  } catch {
    return undefined // ERR_SERVICES_ID: there can be no such pod
  }
}

async function readPods(api: ServicesApi, path: string): Promise<unknown> {
  const [id = '', what] = path.split('::')
  const nowMs = api.clock.nowMs()
  if (id === '' && what === 'status') return pods(api).map((facts) => podStatusJson(facts, nowMs))
  const { facts } = podAt(api, id)
  const { record } = facts
  if (what === undefined) return podJson(record)
  if (what === 'status') return podStatusJson(facts, nowMs)
  if (what === 'versions') return [...new Set([...record.history, record.version])].map(formatVersion)
  const version = /^versions\/(.+)$/.exec(what)?.[1]
  if (version !== undefined) return versionJson(api, facts, version)
  throw new AppError('ERR_SERVICES_UNKNOWN', `there is no /v2/pods/${path}`)
}

async function versionJson(api: ServicesApi, { record }: AppFacts, version: string): Promise<unknown> {
  const definition = await readVersion(api, record.definition.id, version)
  return podJson({ ...record, definition, version: Date.parse(version) })
}

/** The body of `DELETE …::instances`: their ids. */
function instanceNames(body: unknown): readonly string[] {
  if (Array.isArray(body) && body.every((name) => typeof name === 'string')) return body
  throw new AppError('ERR_SERVICES_REQUEST', 'the body is an array of ids of instances')
}

/** Those that are there; they are replaced. @throws ERR_SERVICES_UNKNOWN when none of them is */
async function killInstances(
  api: ServicesApi,
  { instances }: AppFacts,
  names: readonly string[],
): Promise<readonly unknown[]> {
  const found = instances.filter((one) => names.includes(one.id) || names.includes(instanceIdOf(one)))
  if (found.length === 0) throw new AppError('ERR_SERVICES_UNKNOWN', `there is no pod instance "${names.join(', ')}"`)
  const refs = found.map(({ appId, id }) => ({ app: appId, id }))
  await api.submit((context) => {
    const reply = killTasks(context, refs, { lock: 'respect', afterwards: 'replace' })
    return { reply, apps: reply.killed.map(({ appId }) => appId) }
  })
  return found.map((instance) => podInstanceJson(instance, api.clock.nowMs()))
}
