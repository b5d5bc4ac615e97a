import { type FastifyInstance } from 'fastify'
import { isObject } from '../../scheduling/json.ts'
import { parseKnownRun, requireJob, startRun, stopRun, unknownRun } from '../commands.ts'
import { type JobsApi } from '../jobs.ts'
import { pastRunJson, runJson } from '../present.ts'
import { invalidJob } from '../problem.ts'

interface OfJob {
  readonly Params: { readonly id: string }
}
interface OfRun {
  readonly Params: { readonly id: string; readonly rid: string }
}

/** /v1/jobs/{id}/runs. */
export function runRoutes(app: FastifyInstance, api: JobsApi): void {
  const path = '/v1/jobs/:id/runs'
  app.get<OfJob>(path, ({ params }, reply) => {
    const { definition } = requireJob(api.world, params.id)
    return reply.send(api.world.runsOf(definition.id).map(runJson))
  })
  app.post<OfJob>(path, async ({ params, body }, reply) => {
    refuseOverride(body)
    const run = await api.submit((context) => startRun(context, params.id))
    return reply.code(201).send(runJson(run))
  })
  app.get<OfRun>(`${path}/:rid`, ({ params }, reply) => reply.send(oneRun(api, params)))
  app.post<OfRun>(`${path}/:rid/actions/stop`, async ({ params }, reply) => {
    const run = await api.submit((context) => stopRun(context, { id: params.id, run: params.rid }))
    return reply.send(runJson(run))
  })
}

function oneRun({ world }: JobsApi, { id, rid }: OfRun['Params']): unknown {
  const record = requireJob(world, id)
  const runId = parseKnownRun(rid)
  const active = world.run(record.definition.id, runId)
  if (active !== undefined) return runJson(active)
  const { successes, failures } = record.history
  const success = successes.find((run) => run.id === runId)
  if (success !== undefined) return pastRunJson(record, { run: success, status: 'SUCCESS' })
  const failure = failures.find((run) => run.id === runId)
  if (failure === undefined) throw unknownRun(rid)
  return pastRunJson(record, { run: failure, status: 'FAILED' })
}

/** Metronome 0.6.40 takes changes for one run in the body. */
function refuseOverride(body: unknown): void {
  if (body === undefined || body === null || (isObject(body) && Object.keys(body).length === 0)) return
  const fields = isObject(body) ? Object.keys(body) : ['']
  throw invalidJob(
    fields.map((field) => ({
      path: `/${field}`,
      error: 'a run cannot differ from its job: change the job, or add one',
    })),
  )
}
