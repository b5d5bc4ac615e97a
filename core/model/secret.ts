import { AppError } from '../base/errors.ts'
import { type TaskInfo } from './task.ts'

/** The text of a secret, by the name of its source. @throws ERR_MASTER_SECRET when there is none */
export type ReadSecret = (source: string) => string

/** Where there are no secrets. @throws ERR_MASTER_SECRET always */
export const noSecrets: ReadSecret = (source) => {
  throw new AppError('ERR_MASTER_SECRET', `secret "${source}": the master has no secrets, start it with --secrets-dir`)
}

/**
 * The task with the values of its secrets, as its agent needs it. Nothing else ever has them: tables, the store, `/state` and
 * logs know the names of their sources only.
 */
export function fillSecrets(info: TaskInfo, read: ReadSecret): TaskInfo {
  return mapSecrets(info, read)
}

/** The task without the values of its secrets. */
export function redactSecrets(info: TaskInfo): TaskInfo {
  return mapSecrets(info, () => undefined)
}

/** True for a task that has secrets. */
export function hasSecrets({ command, container }: TaskInfo): boolean {
  const inFiles = container?.volumes.some(({ source }) => source.kind === 'secret' && source.source !== undefined)
  return command.secretEnv !== undefined || inFiles === true
}

function mapSecrets(info: TaskInfo, read: (source: string) => string | undefined): TaskInfo {
  if (!hasSecrets(info)) return info
  const { command, container } = info
  const { secretEnv = {} } = command
  const plain = Object.entries(command.env).filter(([name]) => !Object.hasOwn(secretEnv, name))
  const secret = Object.entries(secretEnv).flatMap(([name, source]) => {
    const value = read(source)
    // The end of the file's last line is no part of a variable: editors and `echo` put it there.
    return value === undefined ? [] : [[name, value.replace(/\r?\n$/, '')] as const]
  })
  const volumes = container?.volumes.map((volume) => {
    const { source: from } = volume
    if (from.kind !== 'secret' || from.source === undefined) return volume
    return { ...volume, source: { ...from, value: read(from.source) ?? '' } }
  })
  return {
    ...info,
    command: { ...command, env: Object.fromEntries([...plain, ...secret]) },
    ...(container === undefined || volumes === undefined ? {} : { container: { ...container, volumes } }),
  }
}
