import { type FastifyInstance } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { presentRecord, wantedInstances } from '../app.ts'
import { unknownApp } from '../commands.ts'
import { isActive } from '../instance.ts'
import { type AppFacts } from '../present.ts'
import { type NoOffers } from '../no-offers.ts'
import { queueJson } from '../present-queue.ts'
import { type ServicesApi } from '../services.ts'
import { parseTarget, readList } from './request.ts'

/** /v2/queue and the delays of its apps. */
export function queueRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/queue', (request) => {
    const embed = readList(request.query, 'embed').includes('lastUnusedOffers')
    return { queue: listQueue(api, embed ? 'with-offers' : 'without-offers') }
  })
  app.get<Below>('/v2/queue/*', (request) => {
    const { record, runtime } = queuedApp(api, request.params['*'])
    const { untilMs, delayMs } = runtime.backoff
    const leftMs = Math.max(0, untilMs - api.clock.monotonicMs())
    return {
      currentDelaySeconds: Math.ceil(delayMs / 1000),
      maxLaunchDelaySeconds: record.definition.maxLaunchDelaySeconds,
      queueDelay: { timeLeftSeconds: Math.ceil(leftMs / 1000), overdue: leftMs === 0 },
    }
  })
  app.delete<Below>('/v2/queue/*', async (request, reply) => {
    const { record } = queuedApp(api, request.params['*'])
    await api.resetDelay(record.definition.id)
    return reply.code(204).send()
  })
}

/** Requests to a path below /v2/queue. */
interface Below {
  readonly Params: { readonly '*': string }
}

function queuedApp(api: ServicesApi, path: string): AppFacts {
  const match = /^(.*)\/delay$/.exec(path)
  if (match?.[1] === undefined) throw new AppError('ERR_SERVICES_UNKNOWN', `there is no /v2/queue/${path}`)
  const target = parseTarget(match[1])
  const facts = target.kind === 'app' ? api.facts(target.id) : undefined
  if (facts === undefined) throw unknownApp(target.id)
  return facts
}

function listQueue(api: ServicesApi, embed: 'with-offers' | 'without-offers'): readonly unknown[] {
  const { world, facts, clock } = api
  const nowMs = clock.monotonicMs()
  const noOffers = noOffersOf(api)
  return [...world.apps()].map(presentRecord).flatMap((record) => {
    const known = facts(record.definition.id)
    if (known === undefined) return []
    const current = known.instances.filter((i) => isActive(i) && i.configVersion === record.configVersion)
    const missing = Math.max(0, wantedInstances(record) - current.length)
    return queueJson(known, { missing, nowMs, embed, noOffers }) ?? []
  })
}

/** What keeps the master from offering to the services now; costs a look at each agent, so it is asked once for a request. */
export function noOffersOf({ cluster, frameworkId }: ServicesApi): readonly NoOffers[] {
  const id = frameworkId()
  return id === undefined ? [] : (cluster.noOffers?.(id) ?? [])
}
