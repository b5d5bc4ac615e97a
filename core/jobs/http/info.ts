import { type FastifyInstance } from 'fastify'
import { type JobsApi } from '../jobs.ts'
import { queuedJson } from '../present.ts'
import { statusOf } from '../run.ts'

/** /v1/queue and /v1/metrics. */
export function infoRoutes(app: FastifyInstance, api: JobsApi): void {
  app.get('/v1/queue', (_request, reply) => reply.send(queue(api)))
  app.get('/v1/metrics', (_request, reply) => reply.send(metrics(api)))
}

/** Jobs with runs that wait for a place. Source: metronome, queue.raml; why they wait is ours. */
function queue({ world, waitingOf }: JobsApi): readonly unknown[] {
  return [...world.jobs()].flatMap(({ definition }) => {
    const runs = world.runsOf(definition.id).flatMap((run) => {
      const waiting = waitingOf(run)
      return waiting === undefined ? [] : [queuedJson(run, waiting)]
    })
    return runs.length === 0 ? [] : [{ jobId: definition.id, runs }]
  })
}

/** The shape of Metronome's, which is Dropwizard's, with figures of our own. */
function metrics({ world }: JobsApi): unknown {
  const runs = [...world.runs()]
  const jobs = [...world.jobs()]
  const count = (status: string) => ({ value: runs.filter((run) => statusOf(run) === status).length })
  const sum = (of: 'successCount' | 'failureCount') => ({
    count: jobs.reduce((total, { history }) => total + history[of], 0),
  })
  return {
    version: '4.0.0',
    counters: {
      'metronome.runs.success.count': sum('successCount'),
      'metronome.runs.failed.count': sum('failureCount'),
    },
    gauges: {
      'metronome.jobs.gauge': { value: jobs.length },
      'metronome.runs.initial.gauge': count('INITIAL'),
      'metronome.runs.starting.gauge': count('STARTING'),
      'metronome.runs.active.gauge': count('ACTIVE'),
    },
    histograms: {},
    meters: {},
    timers: {},
  }
}
