import { type AgentId, type NetworkName, type NodeName } from '../../model/ids.ts'
import { networksOfTask } from '../../model/task.ts'
import { type MasterContext } from '../context.ts'
import { type MasterTask } from '../tasks/state.ts'
import { roomByNetwork } from './usage.ts'

type RoomContext = Pick<MasterContext, 'agents' | 'registrar' | 'usage' | 'tasks'>

/** Room for containers on an agent's node: see {@link roomByNetwork}. */
export function roomOfAgent(context: RoomContext, agentId: AgentId): ReadonlyMap<NetworkName, number> {
  const { agents, registrar, usage, tasks } = context
  const name = agents.get(agentId)?.record.nodeName
  const node = name === undefined ? undefined : registrar.state.nodes.get(name)
  if (node === undefined) return new Map()
  return roomByNetwork({
    networks: registrar.state.networks.keys(),
    shares: node.subnets,
    usage: usage.of(node.name),
    tasks: tasks.ofAgent(agentId),
  })
}

/**
 * Offers an agent again, to those too who refused it, as soon as a network that had no address left there has one. Call
 * after whatever may have made room.
 */
export interface RoomWatch {
  /** A node told of its leases, or got a part of a network. */
  node(name: NodeName): void
  /** A task took another step. */
  task(task: MasterTask): void
}

/** Watches the room of every agent. Nothing is remembered of agents that never ran out. */
export function watchRoom(context: RoomContext & Pick<MasterContext, 'allocator' | 'offers'>): RoomWatch {
  const full = new Map<AgentId, ReadonlySet<NetworkName>>()
  const look = (agentId: AgentId) => {
    const before = full.get(agentId)
    const room = roomOfAgent(context, agentId)
    const now = new Set([...room].filter(([, left]) => left < 1).map(([name]) => name))
    if (now.size > 0) full.set(agentId, now)
    else full.delete(agentId)
    if (before === undefined || [...before].every((name) => now.has(name))) return
    context.allocator.clearAgentFilters(agentId)
    context.offers.schedule([agentId])
  }
  return {
    node: (name) => {
      const agentId = context.registrar.state.nodes.get(name)?.agentId
      if (agentId !== undefined) look(agentId)
    },
    task: ({ info }) => {
      if (networksOfTask(info).length > 0) look(info.agentId)
    },
  }
}
