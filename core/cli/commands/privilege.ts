import { AppError } from '../../base/errors.ts'

/** @throws ERR_CLI_PRIVILEGE with the command to use instead, when this is not root */
export function requireRoot(command: string): void {
  if (process.geteuid?.() === 0) return
  throw new AppError(
    'ERR_CLI_PRIVILEGE',
    `\`weft ${command}\` makes network namespaces, mounts and control groups, which needs root: run it with sudo`,
  )
}
