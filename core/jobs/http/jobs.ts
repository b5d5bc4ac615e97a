import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { isObject } from '../../scheduling/json.ts'
import {
  addSchedule,
  createJob,
  deleteJob,
  deleteSchedule,
  requireJob,
  requireSchedule,
  updateJob,
  updateSchedule,
} from '../commands.ts'
import { type JobRecord } from '../job.ts'
import { type JobsApi } from '../jobs.ts'
import { type Embed, embeds, jobJson, scheduleJson } from '../present.ts'

interface OfJob {
  readonly Params: { readonly id: string }
}
interface OfSchedule {
  readonly Params: { readonly id: string; readonly sid: string }
}

/** /v1/jobs and schedules below. */
export function jobRoutes(app: FastifyInstance, api: JobsApi): void {
  const nothing: ReadonlySet<Embed> = new Set()
  const shown = (record: JobRecord, embed = nothing) => jobJson(record, embed, api.world.runsOf(record.definition.id))
  app.get('/v1/jobs', (request, reply) => {
    const embed = readEmbed(request.query)
    return reply.send([...api.world.jobs()].map((record) => shown(record, embed)))
  })
  app.post('/v1/jobs', async (request, reply) => {
    const record = await api.submit((context) => createJob(context, request.body))
    return reply.code(201).send(shown(record))
  })
  app.get<OfJob>('/v1/jobs/:id', ({ params, query }, reply) =>
    reply.send(shown(requireJob(api.world, params.id), readEmbed(query))),
  )
  app.put<OfJob>('/v1/jobs/:id', async ({ params, body }, reply) => {
    const record = await api.submit((context) => updateJob(context, params.id, { body }))
    return reply.send(shown(record))
  })
  app.delete<OfJob>('/v1/jobs/:id', async ({ params, query }, reply) => {
    const runs = readFlag(query, 'stopCurrentJobRuns') === 'true' ? 'stop' : 'refuse'
    const record = await api.submit((context) => deleteJob(context, params.id, { runs }))
    return reply.send(jobJson(record, nothing, []))
  })
  scheduleRoutes(app, api)
}

function scheduleRoutes(app: FastifyInstance, api: JobsApi): void {
  const path = '/v1/jobs/:id/schedules'
  app.get<OfJob>(path, ({ params }, reply) => reply.send(requireJob(api.world, params.id).schedules.map(scheduleJson)))
  app.post<OfJob>(path, async ({ params, body }, reply) => {
    const schedule = await api.submit((context) => addSchedule(context, params.id, body))
    return reply.code(201).send(scheduleJson(schedule))
  })
  app.get<OfSchedule>(`${path}/:sid`, ({ params }, reply) =>
    reply.send(scheduleJson(requireSchedule(requireJob(api.world, params.id), params.sid))),
  )
  app.put<OfSchedule>(`${path}/:sid`, async ({ params, body }, reply) => {
    const which = { id: params.id, schedule: params.sid }
    const schedule = await api.submit((context) => updateSchedule(context, { ...which, body }))
    return reply.send(scheduleJson(schedule))
  })
  app.delete<OfSchedule>(`${path}/:sid`, async ({ params }, reply) => {
    await api.submit((context) => deleteSchedule(context, { id: params.id, schedule: params.sid }))
    return reply.send()
  })
}

/** @throws ERR_JOBS_REQUEST for one that does not exist */
function readEmbed(query: unknown): ReadonlySet<Embed> {
  const value: unknown = isObject(query) ? query['embed'] : undefined
  const texts: readonly unknown[] = value === undefined ? [] : Array.isArray(value) ? value : [value]
  const names = texts.flatMap((text) => String(text).split(',')).filter((name) => name !== '')
  return new Set(
    names.map((name) => {
      const embed = embeds.find((other) => other === name)
      if (embed !== undefined) return embed
      throw new AppError('ERR_JOBS_REQUEST', `embed=${name} is not known: ${embeds.join(', ')}`)
    }),
  )
}

function readFlag(query: unknown, name: string): 'true' | 'false' {
  const value = isObject(query) ? query[name] : undefined
  if (value === undefined || value === 'false') return 'false'
  if (value === 'true' || value === '') return 'true'
  throw new AppError('ERR_JOBS_REQUEST', `the query parameter ${name} is true or false`)
}
