import { type AgentId, type FrameworkId } from '../../model/ids.ts'
import { type Reservation } from '../../model/reservation.ts'
import { type Resources } from '../../model/resources.ts'

/** Resources of an agent in the hands of a framework, in one of its roles. */
export interface Grant {
  readonly agentId: AgentId
  readonly frameworkId: FrameworkId
  readonly role: string
  /** Unreserved ones. */
  readonly resources: Resources
  /** Of reservations for the role, or for one above it. */
  readonly reserved?: readonly Reservation[]
}
