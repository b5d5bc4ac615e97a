import { AppError } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { type ResourceShare, shareOf, subtractShares } from '../../model/reservation.ts'
import { type MasterContext } from '../context.ts'
import { holdsResources } from '../tasks/tasks.ts'
import { type ReservationOperation } from './operations.ts'
import { runOperations } from './run.ts'

/**
 * An operator's RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES or DESTROY_VOLUMES: on what no task has; offers that
 * hold it are rescinded. Durable when it resolves. Source: mesos, src/master/http.cpp, `Master::Http::_operation`.
 * @throws ERR_MASTER_AGENT_UNKNOWN, ERR_MASTER_AGENT_DISCONNECTED, ERR_MASTER_OPERATION with the reason, what the store throws
 */
export async function operate(
  context: MasterContext,
  agentId: AgentId,
  { operation, principal = '' }: { readonly operation: ReservationOperation; readonly principal?: string },
): Promise<void> {
  const agent = context.agents.get(agentId)
  if (agent === undefined) throw new AppError('ERR_MASTER_AGENT_UNKNOWN', `there is no agent ${agentId}`)
  if (agent.link === undefined) {
    throw new AppError('ERR_MASTER_AGENT_DISCONNECTED', `agent ${agentId} is not connected: try again when it is`)
  }
  const free = freeOf(context, agentId)
  context.offers.rescindOfAgent(agentId)
  const { problems, durable } = runOperations(context, {
    agentId,
    role: 'any',
    principal,
    free,
    operations: [operation],
  })
  context.offers.schedule([agentId])
  if (problems.length > 0) throw new AppError('ERR_MASTER_OPERATION', problems.join('; '))
  await durable
}

/** What no task has. */
function freeOf({ allocator, tasks }: MasterContext, agentId: AgentId): ResourceShare {
  const total = allocator.total(agentId)
  const used = tasks.ofAgent(agentId).filter(holdsResources)
  return used.reduce((left, { info }) => subtractShares(left, shareOf(info.resources, info.reserved)), total)
}
