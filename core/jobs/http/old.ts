import { type FastifyInstance } from 'fastify'
import { isObject } from '../../scheduling/json.ts'
import { createJob, requireJob, updateJob } from '../commands.ts'
import { type JobsApi } from '../jobs.ts'
import { jobJson } from '../present.ts'
import { invalidJob } from '../problem.ts'

interface OfJob {
  readonly Params: { readonly id: string }
}

/** /v0/scheduled-jobs: a job with its schedules in one body. Source: metronome, scheduled-jobs.raml. */
export function oldRoutes(app: FastifyInstance, api: JobsApi): void {
  const path = '/v0/scheduled-jobs'
  const embed = new Set(['schedules'] as const)
  app.get(path, (_request, reply) => reply.send([...api.world.jobs()].map((record) => jobJson(record, embed, []))))
  app.get<OfJob>(`${path}/:id`, ({ params }, reply) => reply.send(jobJson(requireJob(api.world, params.id), embed, [])))
  app.post(path, async ({ body }, reply) => {
    const record = await api.submit((context) => createJob(context, body, schedulesOf(body)))
    return reply.code(201).send(jobJson(record, embed, []))
  })
  app.put<OfJob>(`${path}/:id`, async ({ params, body }, reply) => {
    const record = await api.submit((context) => updateJob(context, params.id, { body, schedules: schedulesOf(body) }))
    return reply.send(jobJson(record, embed, []))
  })
}

function schedulesOf(body: unknown): readonly unknown[] {
  const schedules = isObject(body) ? body['schedules'] : undefined
  if (schedules === undefined || schedules === null) return []
  if (Array.isArray(schedules)) return schedules
  throw invalidJob([{ path: '/schedules', error: 'must be an array' }])
}
