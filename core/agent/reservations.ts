import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeReservations, encodeReservations } from '../api/convert-reservation.ts'
import { Reservations } from '../api/gen/cluster.ts'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { type PersistentVolume, type Reservation, volumeProblem } from '../model/reservation.ts'
import { type TaskInfo } from '../model/task.ts'
import { writeDurably } from './identity.ts'
import { type AgentPaths } from './paths.ts'

/** What is reserved on this agent, and its volumes' directories: on disk, so that both outlive every process. */
export interface ReservationFile {
  /** As a master last told it. */
  kept(): readonly Reservation[]
  /**
   * Makes the directories of volumes, writes the list, removes the directories of destroyed ones. Durable when it returns:
   * a task of the next command may use them. A directory that no list names is left alone.
   * @throws ERR_AGENT_RESERVATIONS and keeps what it had
   */
  keep(reserved: readonly Reservation[], destroyed: readonly Reservation[]): void
}

/** Opens what an earlier agent kept. @throws ERR_AGENT_RESERVATIONS when it is damaged */
export function openReservations(paths: Pick<AgentPaths, 'reservations' | 'volumes'>): ReservationFile {
  const trash = join(paths.volumes, 'trash')
  rmSync(trash, { recursive: true, force: true })
  let kept = readReservations(paths.reservations)
  return {
    kept: () => kept,
    keep: (reserved, destroyed) => {
      try {
        for (const { role, id } of volumesOf(reserved)) {
          mkdirSync(volumePath(paths.volumes, role, id), { recursive: true, mode: 0o755 })
        }
        writeDurably(paths.reservations, `${formatReservations(reserved)}\n`)
        kept = reserved
        for (const { role, id } of volumesOf(destroyed)) removeLater(volumePath(paths.volumes, role, id), trash)
      } catch (error) {
        throw new AppError('ERR_AGENT_RESERVATIONS', `can't keep the reservations: ${errorMessage(error)}`, {
          cause: error,
        })
      }
    },
  }
}

/**
 * Directory of a volume. A role has no blank, so that one stands for each "/" in it. Source: mesos, src/slave/paths.cpp,
 * getPersistentVolumePath.
 */
export function volumePath(volumes: string, role: string, id: string): string {
  return join(volumes, 'roles', role.replaceAll('/', ' '), id)
}

/** A volume of a task: where it is, and where the task sees it. */
export interface TaskVolume {
  readonly id: string
  readonly source: string
  /** Relative to the sandbox, or absolute. */
  readonly containerPath: string
}

/**
 * The volumes that a task's resources name.
 * @throws ERR_AGENT_VOLUME for a volume that is not there, or that could lead out of where volumes are
 */
export function taskVolumes(volumes: string, { reserved = [] }: Pick<TaskInfo, 'reserved'>): readonly TaskVolume[] {
  return volumesOf(reserved).map((volume) => {
    const { role, id, containerPath } = volume
    const source = volumePath(volumes, role, id)
    const problem = volumeProblem(volume) ?? (existsSync(source) ? undefined : `volume "${id}" is not on this agent`)
    if (problem !== undefined) throw new AppError('ERR_AGENT_VOLUME', problem)
    return { id, source, containerPath }
  })
}

function volumesOf(reserved: readonly Reservation[]): readonly (PersistentVolume & { readonly role: string })[] {
  return reserved.flatMap(({ role, volumes }) => volumes.map((volume) => ({ ...volume, role })))
}

/** Out of the way at once, so that one of the same name can be made; its content goes in the background. */
function removeLater(path: string, trash: string): void {
  if (!existsSync(path)) return
  mkdirSync(trash, { recursive: true, mode: 0o700 })
  const gone = join(trash, randomBytes(8).toString('hex'))
  renameSync(path, gone)
  rm(gone, { recursive: true, force: true }).catch(() => undefined) // whatever it is: the next start tries again
}

/** As on the wire (base64), so that there is one codec for it and not two. */
function formatReservations(reserved: readonly Reservation[]): string {
  const bytes = Reservations.encode({ reserved: encodeReservations(reserved), destroyed: [] }).finish()
  return Buffer.from(bytes).toString('base64')
}

function readReservations(path: string): readonly Reservation[] {
  try {
    const { reserved } = Reservations.decode(Buffer.from(readFileSync(path, 'utf8'), 'base64'))
    return decodeReservations(reserved, path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw new AppError('ERR_AGENT_RESERVATIONS', `can't read ${path}: ${errorMessage(error)}`, { cause: error })
  }
}
