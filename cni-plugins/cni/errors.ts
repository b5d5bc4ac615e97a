import { AppError, errorMessage } from '../../core/base/errors.ts'
import { newestCniVersion } from './version.ts'

/** Error codes. Source: CNI SPEC.md 1.1.0, section "Error"; 100 and above are the plugin's own. */
export const cniCodes = {
  version: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  environment: 4,
  io: 5,
  decode: 6,
  config: 7,
  tryAgain: 11,
  unavailable: 50,
  limited: 51,
  alreadyAttached: 100,
  checkFailed: 101,
  internal: 999,
} as const

/** Codes of errors thrown in this folder, as CNI numbers them. Whoever throws others adds to the table at its edge. */
export const cniCodeTable: Readonly<Record<string, number>> = {
  ERR_CNI_VERSION: cniCodes.version,
  ERR_CNI_FIELD: cniCodes.unsupportedField,
  ERR_CNI_CONTAINER: cniCodes.unknownContainer,
  ERR_CNI_ENVIRONMENT: cniCodes.environment,
  ERR_CNI_IO: cniCodes.io,
  ERR_CNI_DECODE: cniCodes.decode,
  ERR_CNI_CONFIG: cniCodes.config,
  ERR_CNI_TRY_AGAIN: cniCodes.tryAgain,
  ERR_CNI_UNAVAILABLE: cniCodes.unavailable,
  ERR_CNI_LIMITED: cniCodes.limited,
}

/** The number for an error by its `code`; {@link cniCodes}.internal for any other. */
export function cniCodeOf(error: unknown, table: Readonly<Record<string, number>> = cniCodeTable): number {
  return (error instanceof AppError ? table[error.code] : undefined) ?? cniCodes.internal
}

/** What a CNI error says. */
export interface CniErrorBody {
  readonly code: number
  readonly msg: string
  readonly details?: string
}

/** The error object that goes to standard output. Mesos requires `cniVersion` in it. */
export function formatCniError({ code, msg, details }: CniErrorBody, cniVersion: string = newestCniVersion): string {
  return `${JSON.stringify({ cniVersion, code, msg, ...(details === undefined ? {} : { details }) })}\n`
}

/** The causes of an error, joined: what goes to `details`. */
export function causesOf(error: unknown): string | undefined {
  const causes: string[] = []
  let cause = error instanceof Error ? error.cause : undefined
  while (cause !== undefined && causes.length < 5) {
    causes.push(errorMessage(cause))
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return causes.length === 0 ? undefined : causes.join(': ')
}
