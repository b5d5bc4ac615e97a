import { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { parseTaskId, type TaskId } from '../../model/ids.ts'
import { type KillOptions, killTasks, unknownApp } from '../commands.ts'
import { type Deployed } from '../deploy.ts'
import { type AppRecord } from '../app.ts'
import { type AppId, appIdOfTask } from '../ids.ts'
import { type Instance, shownState } from '../instance.ts'
import { isObject } from '../../scheduling/json.ts'
import { endpointLines } from '../present-endpoints.ts'
import { taskJson } from '../present.ts'
import { type ServicesApi } from '../services.ts'
import { deploymentBody, withDeployment } from './reply.ts'
import { type AppTarget, readFlag, readList, readLock } from './request.ts'

/** A task by its app. */
interface TaskRef {
  readonly app: AppId
  readonly id: TaskId
}

/** /v2/tasks. Tasks of one app are below /v2/apps. */
export function taskRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/tasks', (request, reply) => {
    if (wantsText(request)) return sendEndpoints(api, [...api.world.apps()], reply)
    const states = ['status', 'status[]'].flatMap((name) => readList(request.query, name))
    const all = [...api.world.apps()].flatMap(({ definition }) => api.world.instancesOf(definition.id))
    const shown = all.filter((instance) => states.length === 0 || states.includes(statusOf(instance)))
    return reply.send({ tasks: shown.map((instance) => taskJson(instance, api.world.app(instance.appId))) })
  })
  app.post('/v2/tasks/delete', async (request, reply) => {
    const refs = parseIds(request.body).map((id) => {
      const ref = refOf(id)
      if (ref === undefined) throw new AppError('ERR_SERVICES_REQUEST', `Invalid task id ${id}`)
      return ref
    })
    return kill(api, { refs, query: request.query, reply })
  })
}

/** The word of the query parameter `status`. */
function statusOf(instance: Instance): string {
  return shownState(instance) === 'TASK_RUNNING' ? 'running' : 'staging'
}

function parseIds(body: unknown): readonly string[] {
  const ids: unknown = isObject(body) ? body['ids'] : undefined
  if (!Array.isArray(ids)) throw new AppError('ERR_SERVICES_REQUEST', 'the body is {"ids": ["task id", …]}')
  return ids.filter((id) => typeof id === 'string')
}

function refOf(text: string): TaskRef | undefined {
  const id = parseTaskIdOrNot(text)
  const app = id === undefined ? undefined : appIdOfTask(id)
  return id === undefined || app === undefined ? undefined : { app, id }
}

function parseTaskIdOrNot(text: string): TaskId | undefined {
  try {
    return parseTaskId(text)
  } catch {
    return undefined // ERR_MODEL_ID: there can be no such task
  }
}

/** A request and where its answer goes. */
interface Exchange {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

/** GET /v2/apps/{id}/tasks. @throws ERR_SERVICES_UNKNOWN */
export function listAppTasks(api: ServicesApi, id: AppId, { request, reply }: Exchange): FastifyReply {
  const record = api.world.app(id)
  if (record === undefined) throw unknownApp(id)
  if (wantsText(request)) return sendEndpoints(api, [record], reply)
  return reply.send({ tasks: api.world.instancesOf(id).map((instance) => taskJson(instance, record)) })
}

/** `Accept: text/plain`: lines for proxies. A client that takes JSON too gets JSON. */
function wantsText({ headers }: FastifyRequest): boolean {
  return /^text\/plain\b/.test(headers.accept ?? '')
}

function sendEndpoints({ world }: ServicesApi, records: readonly AppRecord[], reply: FastifyReply): FastifyReply {
  const definitions = records.map(({ definition }) => definition).toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const lines = definitions.map((definition) => endpointLines(definition, world.instancesOf(definition.id)))
  return reply.type('text/plain').send(lines.join(''))
}

/** What a request to kill came with. */
interface KillRequest<Target> {
  readonly target: Target
  readonly query: unknown
  readonly reply: FastifyReply
}

/** DELETE /v2/apps/{id}/tasks, of one host with `?host=`. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export async function deleteAppTasks(
  api: ServicesApi,
  { target, query, reply }: KillRequest<AppTarget & { readonly kind: 'tasks' }>,
): Promise<FastifyReply> {
  if (api.world.app(target.id) === undefined) throw unknownApp(target.id)
  const host = readList(query, 'host')[0]
  const instances = api.world
    .instancesOf(target.id)
    .filter(({ place }) => host === undefined || place.hostname === host)
  return kill(api, { refs: instances.map(({ appId, id }) => ({ app: appId, id })), query, reply })
}

/** DELETE /v2/apps/{id}/tasks/{task}. @throws ERR_SERVICES_UNKNOWN ERR_SERVICES_LOCKED */
export async function deleteAppTask(
  api: ServicesApi,
  { target, query, reply }: KillRequest<AppTarget & { readonly kind: 'task' }>,
): Promise<FastifyReply> {
  if (api.world.app(target.id) === undefined) throw unknownApp(target.id)
  const id = parseTaskIdOrNot(target.task)
  const instance = id === undefined ? undefined : api.world.instance(target.id, id)
  if (instance === undefined) throw new AppError('ERR_SERVICES_UNKNOWN', `Task '${target.task}' does not exist`)
  const { killed, deployed } = await submitKill(api, [{ app: target.id, id: instance.id }], query)
  if (deployed !== undefined) return withDeployment(reply, deployed).send(deploymentBody(deployed))
  return reply.send({ task: taskJson(killed[0] ?? instance, api.world.app(target.id)) })
}

async function kill(
  api: ServicesApi,
  { refs, query, reply }: { readonly refs: readonly TaskRef[]; readonly query: unknown; readonly reply: FastifyReply },
): Promise<FastifyReply> {
  const { killed, deployed } = await submitKill(api, refs, query)
  if (deployed !== undefined) return withDeployment(reply, deployed).send(deploymentBody(deployed))
  return reply.send({ tasks: killed.map((instance) => taskJson(instance, api.world.app(instance.appId))) })
}

/** `?wipe` destroys the persistent volumes of what is killed. */
async function submitKill(
  api: ServicesApi,
  refs: readonly TaskRef[],
  query: unknown,
): Promise<{ readonly killed: readonly Instance[]; readonly deployed: Deployed | undefined }> {
  const afterwards = readFlag(query, 'scale') === 'true' ? 'scale-down' : 'replace'
  const options: KillOptions = {
    ...readLock(query),
    afterwards,
    volumes: readFlag(query, 'wipe') === 'true' ? 'wipe' : 'keep',
  }
  return api.submit((context) => {
    const reply = killTasks(context, refs, options)
    return { reply, apps: reply.killed.map(({ appId }) => appId) }
  })
}
