import { enableCompileCache } from 'node:module'
import { hasCode } from '../base/errors.ts'

// Before anything else is imported: type stripping and compiling are most of a command's time.
enableCompileCache()

const { createProgram } = await import('./program.ts')

try {
  await createProgram().parseAsync(process.argv)
} catch (error) {
  const debug = process.env['WEFT_DEBUG'] !== undefined || !hasMessage(error)
  process.stderr.write(`weft: ${debug && error instanceof Error ? error.stack : (error as Error).message}\n`)
  process.exitCode = hasCode(error, 'ERR_CLI_USAGE') ? 2 : 1
}

/** Errors of ours are told by their message; anything else is a defect, whose trace is wanted. */
function hasMessage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}
