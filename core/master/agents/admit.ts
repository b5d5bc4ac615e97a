import { type Registration } from '../../api/messages.ts'
import { AppError } from '../../base/errors.ts'
import { type AgentId } from '../../model/ids.ts'
import { type Reservation, reservedResources, volumesMb } from '../../model/reservation.ts'
import { containsResources, type Resources } from '../../model/resources.ts'
import { admitNode } from '../networks/nodes.ts'
import { type Profile } from '../networks/profile.ts'
import { type AgentRecord, type Decide, type NodeRecord, type RegistryState } from '../registry/state.ts'
import { reservedAtRegistration } from '../reservations/run.ts'
import { goneAgent } from './decide-life.ts'

/**
 * Admits an agent, new or back: its record, its node's record, and the end of an earlier agent of that node (one whose
 * state folder was lost). Nothing is written for an agent that comes back as it was.
 * @throws ERR_MASTER_AGENT_GONE; ERR_MASTER_AGENT_NODE when the id belongs to another node; ERR_MASTER_AGENT_RESOURCES when it has less than is
 *   reserved on it; and as decideNode
 */
export function decideAdmitAgent(profile: Profile, id: AgentId, registration: Registration): Decide {
  return (state) => {
    const { nodeName, underlay, resources, attributes, bootId } = registration
    const known = state.agents.get(id)
    if (state.gone.has(id)) throw goneAgent(id)
    if (known !== undefined && known.nodeName !== nodeName) {
      const advice = 'a state folder must not be copied or moved to another machine'
      throw new AppError('ERR_MASTER_AGENT_NODE', `agent ${id} belongs to node "${known.nodeName}": ${advice}`)
    }
    const { reserved = [], kept = [] } = registration
    const allReserved = reservedAtRegistration(known, { reserved, kept })
    refuseTooLittle(id, resources, allReserved)
    const all = { id, nodeName, underlay, total: resources, attributes, bootId }
    const record: AgentRecord = {
      ...all,
      ...(registration.httpPort === undefined ? {} : { httpPort: registration.httpPort }),
      ...(allReserved.length === 0 ? {} : { reserved: allReserved }),
      ...(known?.deactivated && { deactivated: known.deactivated }),
      ...(known?.drain && { drain: known.drain }),
    }
    const agents = new Map<AgentId, AgentRecord | undefined>()
    if (known === undefined || JSON.stringify(known) !== JSON.stringify(record)) agents.set(id, record)
    const other = state.nodes.get(nodeName)?.agentId
    if (other !== undefined && other !== id) agents.set(other, undefined)
    return { agents, nodes: nodeChange(profile, state, record) }
  }
}

/** What was reserved, and the volumes on it, must still be there. Source: mesos, src/slave/compatibility.cpp. */
function refuseTooLittle(id: AgentId, total: Resources, reserved: readonly Reservation[]): void {
  if (containsResources(total, reservedResources(reserved)) && reserved.every(hasItsVolumes)) return
  const advice = 'give it back the resources that it had, or unreserve them first'
  throw new AppError('ERR_MASTER_AGENT_RESOURCES', `agent ${id} has less than is reserved on it: ${advice}`)
}

function hasItsVolumes(reservation: Reservation): boolean {
  return volumesMb(reservation) <= reservation.resources.diskMb
}

function nodeChange(profile: Profile, state: RegistryState, { id, nodeName, underlay }: AgentRecord) {
  const admitted = admitNode(profile, state, { name: nodeName, underlay, by: 'agent' })
  const node = admitted ?? state.nodes.get(nodeName)
  const changes = new Map<NodeRecord['name'], NodeRecord>()
  if (node !== undefined && (admitted !== undefined || node.agentId !== id)) {
    changes.set(node.name, { ...node, agentId: id })
  }
  return changes
}

/** Notes since when an agent is unreachable. */
export function decideUnreachable(id: AgentId, unreachableSinceMs: number): Decide {
  return ({ agents }) => {
    const record = agents.get(id)
    return record === undefined ? {} : { agents: new Map([[id, { ...record, unreachableSinceMs }]]) }
  }
}
