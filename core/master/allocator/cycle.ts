import { type AgentId } from '../../model/ids.ts'
import { noReservations, type ResourceShare, wholeOfShare } from '../../model/reservation.ts'
import { isOfferable } from '../../model/resources.ts'
import { isWithin } from '../../model/role.ts'
import { type AgentEntry, type AgentTable } from './agents.ts'
import { type Filters } from './filters.ts'
import { type Client, type FrameworkTable } from './frameworks.ts'
import { type Grant } from './grant.ts'
import { type Quotas } from './quota.ts'
import { type RoleTree } from './role-tree.ts'

/** What a round of granting reads and changes. */
export interface GrantPass {
  readonly agents: AgentTable
  readonly frameworks: FrameworkTable
  readonly roles: RoleTree
  readonly quotas: Quotas
  readonly filters: Filters
  /** Counts what may make a taker for an agent that had none: an agent is not tried again while nothing did. */
  readonly changes: { count: number }
}

/** Grants what is free on the agents, one after the other: to the neediest role and framework all that it may have. */
export function runPass(pass: GrantPass, agentIds: readonly AgentId[], nowMs: number): readonly Grant[] {
  const grants: Grant[] = []
  pass.frameworks.nowMs = nowMs
  for (const agentId of agentIds) {
    const agent = pass.agents.get(agentId)
    if (agent === undefined || !agent.active || agent.futileAt === pass.changes.count) continue
    for (;;) {
      const found = neediest(pass, { agentId, agent, nowMs })
      if (found === undefined) break
      const { client, share } = found
      const { frameworkId, role } = client
      const { unreserved: resources, reserved } = share
      const grant = { agentId, frameworkId, role, resources, ...(reserved.length === 0 ? {} : { reserved }) }
      pass.agents.tally(grant, 1)
      pass.frameworks.tally(grant, 1)
      client.servedMs = nowMs
      grants.push(grant)
    }
    agent.futileAt = pass.changes.count
  }
  return grants
}

interface Free {
  readonly agentId: AgentId
  readonly agent: AgentEntry
  readonly nowMs: number
}

interface Taker {
  readonly client: Client
  readonly share: ResourceShare
}

function neediest(pass: GrantPass, free: Free): Taker | undefined {
  const { roles, quotas } = pass
  const { unreserved, reserved } = free.agent.available
  let taker: Taker | undefined
  const accept = (role: string) => {
    taker = takerIn(pass, free, role)
    return taker !== undefined
  }
  if (isOfferable(unreserved)) {
    const isOwed = (top: string) => reserved.some(({ role }) => isWithin(role, top))
    roles.find(accept, (top) => quotas.hasRoom(top) || isOwed(top))
    return taker
  }
  for (const role of new Set(reserved.map((each) => each.role))) {
    if (roles.findWithin(role, accept) !== undefined) return taker
  }
  return undefined
}

function takerIn({ frameworks, quotas, filters }: GrantPass, free: Free, role: string): Taker | undefined {
  const { agentId, agent, nowMs } = free
  const share = shareFor(agent.available, quotas, role)
  if (share === undefined) return undefined
  const client = frameworks.find(role, (key) => !filters.blocks({ client: key, agentId, share }, nowMs))
  return client === undefined ? undefined : { client, share }
}

/** What a role may have of what is free: undefined when it is too little for an offer. */
export function shareFor(free: ResourceShare, quotas: Quotas, role: string): ResourceShare | undefined {
  const reserved =
    free.reserved.length === 0 ? noReservations : free.reserved.filter((each) => isWithin(role, each.role))
  const share = { unreserved: quotas.chop(role, free.unreserved), reserved }
  return isOfferable(wholeOfShare(share)) ? share : undefined
}
