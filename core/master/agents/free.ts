import { type AgentId } from '../../model/ids.ts'
import { type Resources } from '../../model/resources.ts'
import { type MasterContext } from '../context.ts'
import { roomOfAgent } from '../networks/room.ts'
import { lifeOf } from './decide-life.ts'

/** What an agent that may be offered has left over. */
export interface Free {
  readonly agentId: AgentId
  readonly place: { readonly hostname: string; readonly attributes: Readonly<Record<string, string>> }
  /** Reserved for nobody, and in nobody's hands. */
  readonly resources: Resources
  /** Containers that still fit there, by network. */
  readonly freeAddresses: Readonly<Record<string, number>>
}

/** What each agent that is there and active has free now. What a framework holds as an offer is not free. */
export function freeAgents(context: MasterContext): readonly Free[] {
  const there = [...context.agents.values()].filter(
    ({ link, record }) => link !== undefined && lifeOf(record) === 'active',
  )
  return there.map(({ record: { id, nodeName, attributes } }) => ({
    agentId: id,
    place: { hostname: nodeName, attributes },
    resources: context.allocator.unreserved(id),
    freeAddresses: Object.fromEntries(roomOfAgent(context, id)),
  }))
}
