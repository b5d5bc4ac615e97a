import { errorMessage } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { noReservations, type Reservation, type ResourceShare, shareOf } from '../../model/reservation.ts'
import { type MasterContext } from '../context.ts'
import { type AgentRecord, type Decide } from '../registry/state.ts'
import { applyOperation, operationProblem, type Requester, type ReservationOperation } from './operations.ts'

/** How long an agent that could not keep its reservations is left alone. */
const retryMs = 5_000

/** Operations on resources of one agent that are free, or were offered and are free again since. */
export interface OperationRequest extends Requester {
  readonly agentId: AgentId
  readonly free: ResourceShare
  readonly operations: readonly ReservationOperation[]
}

/** What became of operations. */
export interface OperationResult {
  /** `free` as the good ones left it. */
  readonly free: ResourceShare
  /** The bad ones, in order; those after them were still tried. Source: mesos, master.cpp, `_accept`. */
  readonly problems: readonly string[]
  /**
   * Resolves when the good ones are in the registry and the agent was told: only then may it be told of a task that uses
   * them. Absent: there is nothing to wait for. It rejects with what the store throws, and all are undone.
   */
  readonly durable?: Promise<void>
}

/**
 * Carries out RESERVE, UNRESERVE, CREATE and DESTROY: at once for the allocator, so that what follows in the same ACCEPT can
 * use it, then in the registry, then on the agent.
 */
export function runOperations(context: MasterContext, request: OperationRequest): OperationResult {
  const { allocator, log } = context
  const { agentId, operations, role, principal } = request
  const good: ReservationOperation[] = []
  const problems: string[] = []
  let { free } = request
  let total = allocator.total(agentId)
  for (const operation of operations) {
    const hasVolume = (of: string, id: string) => findVolume(total.reserved, of, id)
    const problem = operationProblem(operation, { role, principal, free, hasVolume })
    if (problem !== undefined) {
      log.warn({ agentId, role, operation: operation.kind, problem }, 'operation dropped')
      problems.push(`${operation.kind.toUpperCase()}: ${problem}`)
      continue
    }
    free = applyOperation(free, operation)
    total = applyOperation(total, operation)
    good.push(operation)
  }
  if (good.length === 0) return { free, problems }
  allocator.setAgent(agentId, total)
  const durable = keep(context, agentId, good)
  durable.catch(() => undefined) // what the store throws: logged there, and told to who waits
  return { free, problems, durable }
}

async function keep(context: MasterContext, agentId: AgentId, good: readonly ReservationOperation[]): Promise<void> {
  const { registrar, allocator, offers, counters, log } = context
  try {
    await registrar.apply(decideOperations(agentId, good))
  } catch (error) {
    counters.storeFailures++
    log.error({ agentId, reason: errorMessage(error) }, 'reservations could not be written to the registry')
    const record = registrar.state.agents.get(agentId)
    offers.rescindOfAgent(agentId) // they may have what is not reserved
    if (record !== undefined) allocator.setAgent(agentId, shareOf(record.total, record.reserved))
    throw error
  }
  const entry = context.agents.get(agentId)
  const record = registrar.state.agents.get(agentId)
  if (entry === undefined || record === undefined) return
  const before = entry.record.reserved ?? noReservations
  entry.record = record
  tellReservations(context, agentId, before)
}

/** Changes what is reserved in an agent's record. */
export function decideOperations(agentId: AgentId, operations: readonly ReservationOperation[]): Decide {
  return ({ agents }) => {
    const record = agents.get(agentId)
    if (record === undefined) return {}
    const { reserved } = operations.reduce(applyOperation, shareOf(record.total, record.reserved))
    return { agents: new Map([[agentId, { ...record, reserved }]]) }
  }
}

/** Tells an agent what is reserved there; volumes that were in `before` and are not any more go. */
export function tellReservations({ agents }: MasterContext, agentId: AgentId, before: readonly Reservation[]): void {
  const entry = agents.get(agentId)
  if (entry?.link === undefined) return
  const reserved = entry.record.reserved ?? noReservations
  const destroyed = before
    .map((each) => ({ ...each, volumes: each.volumes.filter(({ id }) => !findVolume(reserved, each.role, id)) }))
    .filter(({ volumes }) => volumes.length > 0)
  entry.link.send({ kind: 'reservations', reserved, destroyed })
}

/** An agent's answer: what it could not keep is told again later. */
export function reservationsKept(context: MasterContext, agentId: AgentId, problem: string): void {
  if (problem === '') return
  context.log.warn({ agentId, problem }, 'the agent can not keep its reservations, telling it again')
  const link = context.agents.get(agentId)?.link
  context.clock.after(retryMs, () => {
    if (link !== undefined && context.agents.get(agentId)?.link === link) tellReservations(context, agentId, [])
  })
}

/**
 * What is reserved on an agent that registers: what its flags say, and what the registry has; for an agent that the registry
 * does not know, what the agent itself has kept. Volumes stay with the reservation that they are on.
 */
export function reservedAtRegistration(
  known: AgentRecord | undefined,
  { reserved, kept }: { readonly reserved: readonly Reservation[]; readonly kept: readonly Reservation[] },
): readonly Reservation[] {
  const earlier = known === undefined ? kept : (known.reserved ?? noReservations)
  const fixed = reserved.map((each) => {
    const before = earlier.find((other) => other.kind === 'static' && other.role === each.role)
    return before === undefined ? each : { ...each, volumes: before.volumes }
  })
  return [...fixed, ...earlier.filter(({ kind }) => kind === 'dynamic')]
}

function findVolume(reserved: readonly Reservation[], role: string, id: string): boolean {
  return reserved.some((each) => each.role === role && each.volumes.some((volume) => volume.id === id))
}
