import { type FastifyInstance } from 'fastify'
import { type AppRecord, wantedInstances } from '../app.ts'
import { isActive } from '../instance.ts'
import { deploymentJson, queueJson } from '../present-queue.ts'
import { type ServicesApi } from '../services.ts'

/** The version of Marathon whose API this is. */
const apiVersion = '1.11.0'

/** /v2/deployments, /v2/queue, /v2/info, /v2/leader. */
export function infoRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.get('/v2/deployments', () => listDeployments(api))
  app.get('/v2/queue', () => ({ queue: listQueue(api) }))
  app.get('/v2/leader', () => ({ leader: api.cluster.leader() }))
  app.get('/v2/info', () => ({
    name: 'marathon',
    version: apiVersion,
    elected: true,
    leader: api.cluster.leader(),
    frameworkId: api.frameworkId() ?? null,
    marathon_config: { framework_name: 'marathon', ha: false, mesos_role: '*' },
    weft: { snapshotVersion: api.cluster.version() },
  }))
}

function listDeployments({ world }: ServicesApi): readonly unknown[] {
  const byId = new Map<string, AppRecord[]>()
  for (const record of world.apps()) {
    if (record.deployment === undefined) continue
    const records = byId.get(record.deployment.id)
    if (records === undefined) byId.set(record.deployment.id, [record])
    else records.push(record)
  }
  return [...byId.values()].map((records) => {
    const deployment = records[0]?.deployment
    return deployment === undefined ? {} : deploymentJson(deployment, records)
  })
}

function listQueue({ world, facts, clock }: ServicesApi): readonly unknown[] {
  const nowMs = clock.monotonicMs()
  return [...world.apps()].flatMap((record) => {
    const known = facts(record.definition.id)
    if (known === undefined) return []
    const current = known.instances.filter((i) => isActive(i) && i.configVersion === record.configVersion)
    const missing = Math.max(0, wantedInstances(record) - current.length)
    return queueJson(known, { missing, nowMs }) ?? []
  })
}
