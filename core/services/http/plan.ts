import { type FastifyInstance } from 'fastify'
import { isObject, type JsonObject } from '../../scheduling/json.ts'
import { updateApps } from '../commands.ts'
import { updateGroup } from '../commands-group.ts'
import { type CommandContext, type Deployed, startDeployment } from '../deploy.ts'
import { openDraft } from '../draft.ts'
import { rootGroup } from '../ids.ts'
import { groupIdOf, parseGroup } from '../parse-group.ts'
import { parsePod } from '../pods-parse.ts'
import { previewJson } from '../preview.ts'
import { invalidApp } from '../problem.ts'
import { type ServicesApi } from '../services.ts'

/**
 * POST /v1/plan: what deploying an app, a list of apps, a group or a pod would do, and where it would place. Nothing is done. The
 * definitions are taken whole: a field that they leave out has its default, as with `PUT ?partialUpdate=false`.
 */
export function planRoutes(app: FastifyInstance, api: ServicesApi): void {
  app.post('/v1/plan', (request) => plan(api, request.body))
}

async function plan(api: ServicesApi, body: unknown): Promise<JsonObject> {
  const command = commandOf(body)
  return api.submit((context) => {
    // On a draft of its own, which is dropped.
    const deployed = command({ ...context, draft: openDraft(context.draft) })
    const { world, cluster } = api
    return { reply: previewJson({ deployed, world, agents: cluster.freeAgents?.() }), apps: [] }
  })
}

/** A deployment in the way is told, not refused. */
function commandOf(body: unknown): (context: CommandContext) => Deployed {
  const options = { lock: 'force', fields: 'replace', missing: 'create' } as const
  if (isGroup(body)) {
    const id = groupIdOf(body, rootGroup)
    if (id === undefined) throw invalidApp([{ path: '/id', errors: ['give the id of the group'] }])
    return (context) => updateGroup(context, parseGroup(body, { id, check: context.check }), options)
  }
  if (isObject(body) && Array.isArray(body['containers'])) {
    return (context) => {
      const change = { definition: parsePod(body, context.check), goal: 'run', restart: 'when-changed' } as const
      return startDeployment(context, { apps: [change] }, options)
    }
  }
  const apps = Array.isArray(body) ? body : [body]
  return (context) => updateApps(context, apps, options)
}

function isGroup(body: unknown): boolean {
  return isObject(body) && ['apps', 'groups'].some((field) => Array.isArray(body[field]))
}
