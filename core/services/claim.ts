import { type AgentId, type FrameworkId, type TaskId } from '../model/ids.ts'
import { containsReservations, type PersistentVolume, type Reservation } from '../model/reservation.ts'
import { type Place } from '../scheduling/constraints.ts'
import { type AppId } from './ids.ts'

/** Labels by which a reservation is ours, and which instance it is for. Source: marathon, TaskLabels.scala. */
const frameworkLabel = 'marathon_framework_id'
const claimLabel = 'marathon_task_id'

/**
 * What an instance of an app with persistent volumes has on one agent, and keeps between its tasks: a reservation with its
 * volumes. It is written before it is reserved, so no reservation of ours is unknown for longer than an offer.
 */
export interface Claim {
  /** The id of the first task that had it. */
  readonly id: TaskId
  readonly appId: AppId
  readonly agentId: AgentId
  readonly place: Place
  /** What is reserved, with the volumes. */
  readonly reservation: Reservation
  /**
   * `new`: asked for, no task has run on it yet; `kept`: there; `leaving`: to be destroyed and unreserved, as soon as it is
   * offered.
   */
  readonly state: 'new' | 'kept' | 'leaving'
}

/** Labels of a claim's reservation. */
export function claimLabels(frameworkId: FrameworkId, id: TaskId): Readonly<Record<string, string>> {
  return { [frameworkLabel]: frameworkId, [claimLabel]: id }
}

/** The claim that a reservation was made for; undefined for a reservation that this framework did not make. */
export function claimIdOf({ kind, labels }: Reservation, frameworkId: FrameworkId): string | undefined {
  return kind === 'dynamic' && labels[frameworkLabel] === frameworkId ? labels[claimLabel] : undefined
}

/** True for a reservation that some instance has to itself: nothing else is launched on it. */
export function isClaimed({ kind, labels }: Reservation): boolean {
  return kind === 'dynamic' && labels[claimLabel] !== undefined
}

/** True when all of the claim is among what is offered. */
export function isOffered({ reservation }: Claim, reserved: readonly Reservation[] = []): boolean {
  return containsReservations(reserved, [reservation])
}

/** Volumes with ids of their own, in the order of the app's definition. */
export function volumesFor(
  wanted: readonly { readonly containerPath: string; readonly sizeMb: number }[],
  uuid: string,
): readonly PersistentVolume[] {
  return wanted.map((volume, i) => ({ ...volume, id: `${uuid}.${i}` }))
}
