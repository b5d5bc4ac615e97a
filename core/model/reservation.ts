import { type Resources } from './resources.ts'

/** A directory of an agent's disk that outlives tasks, agents' restarts and masters. Its space is part of its reservation. */
export interface PersistentVolume {
  /** Unique on its agent within its role. */
  readonly id: string
  readonly sizeMb: number
  /** Where tasks that take it see it: relative to the sandbox, or absolute. */
  readonly containerPath: string
}

/**
 * Resources of one agent that only one role is offered. Two reservations of an agent with the same role, principal and
 * labels are one. Source: mesos, mesos.proto, Resource.ReservationInfo (DYNAMIC, or STATIC by the agent's own flags).
 */
export interface Reservation {
  readonly role: string
  readonly kind: 'static' | 'dynamic'
  /** Who may unreserve it; empty: anybody. */
  readonly principal: string
  readonly labels: Readonly<Record<string, string>>
  /** `diskMb` includes the volumes. */
  readonly resources: Resources
  readonly volumes: readonly PersistentVolume[]
}

/** What a task or an operation takes: unreserved resources, and parts of reservations with their volumes. */
export interface ResourceShare {
  readonly unreserved: Resources
  readonly reserved: readonly Reservation[]
}
