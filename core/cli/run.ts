import { hasCode } from '../base/errors.ts'
import { createProgram } from './program.ts'

/**
 * Runs the command of `argv` and tells its error on stderr.
 * @returns the exit status: 0 done, 1 it failed, 2 wrong usage; or what the command has set itself
 */
export async function runCommand(argv: readonly string[]): Promise<number> {
  process.exitCode = 0
  try {
    await createProgram().parseAsync(argv)
    return Number(process.exitCode)
  } catch (error) {
    return commanderStatus(error) ?? report(error)
  }
}

/** Help and version are asked for; anything else that commander throws is wrong usage, which it has told already. */
function commanderStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('code' in error) || !String(error.code).startsWith('commander.')) return undefined
  return 'exitCode' in error && error.exitCode === 0 ? 0 : 2
}

function report(error: unknown): number {
  const debug = process.env['WEFT_DEBUG'] !== undefined || !hasMessage(error)
  process.stderr.write(`weft: ${debug && error instanceof Error ? error.stack : (error as Error).message}\n`)
  return hasCode(error, 'ERR_CLI_USAGE') ? 2 : 1
}

/** Errors of ours are told by their message; anything else is a defect, whose trace is wanted. */
function hasMessage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}
