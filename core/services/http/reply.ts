import { type FastifyReply } from 'fastify'
import { type Deployed } from '../commands.ts'
import { formatVersion } from '../version.ts'

/** `{version, deploymentId}`. */
export function deploymentBody({ records, deploymentId }: Deployed): Readonly<Record<string, string>> {
  return { version: formatVersion(Math.max(0, ...records.map(({ version }) => version))), deploymentId }
}

/** The header that tells which deployment a request started. */
export function withDeployment(reply: FastifyReply, { deploymentId }: Deployed): FastifyReply {
  return reply.header('Marathon-Deployment-Id', deploymentId)
}
