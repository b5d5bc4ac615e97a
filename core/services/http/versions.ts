import { type FastifyReply } from 'fastify'
import { AppError } from '../../base/errors.ts'
import { type AppDefinition } from '../app.ts'
import { unknownApp } from '../commands.ts'
import { type AppId } from '../ids.ts'
import { type ServicesApi } from '../services.ts'
import { formatVersion } from '../version.ts'

/** GET /v2/apps/{id}/versions, the newest first. @throws ERR_SERVICES_UNKNOWN */
export function listVersions(api: ServicesApi, id: AppId): { readonly versions: readonly string[] } {
  const record = api.world.app(id)
  if (record === undefined) throw unknownApp(id)
  return { versions: record.history.toReversed().map(formatVersion) }
}

/** GET /v2/apps/{id}/versions/{version}. @throws ERR_SERVICES_UNKNOWN */
export async function sendVersion(
  api: ServicesApi,
  { id, version }: { readonly id: AppId; readonly version: string },
  reply: FastifyReply,
): Promise<FastifyReply> {
  const definition = await readVersion(api, id, version)
  return reply.send({ ...definition, version: formatVersion(Date.parse(version)) })
}

/** A definition of earlier. @throws ERR_SERVICES_UNKNOWN */
export async function readVersion(api: ServicesApi, id: AppId, version: string): Promise<AppDefinition> {
  const record = api.world.app(id)
  if (record === undefined) throw unknownApp(id)
  const wanted = Date.parse(version)
  const definition = record.history.includes(wanted) ? await api.versions.app(id, wanted) : undefined
  if (definition !== undefined) return definition
  throw new AppError('ERR_SERVICES_UNKNOWN', `App '${id}' has no version '${version}': see /v2/apps${id}/versions`)
}
