import { type FastifyReply } from 'fastify'
import { type Deployed } from '../deploy.ts'
import { formatVersion } from '../version.ts'

/** `{version, deploymentId}`. */
export function deploymentBody({ version, deploymentId }: Deployed): Readonly<Record<string, string>> {
  return { version: formatVersion(version), deploymentId }
}

/** The header that tells which deployment a request started. */
export function withDeployment(reply: FastifyReply, { deploymentId }: Deployed): FastifyReply {
  return reply.header('Marathon-Deployment-Id', deploymentId)
}
