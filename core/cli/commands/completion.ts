import { AppError } from '../../base/errors.ts'
import { formatCompletion, shells } from '../completion.ts'
import { createProgram, type GlobalOptions } from '../program.ts'

/** `weft completion SHELL`. */
export async function printCompletion(_globals: GlobalOptions, name: string): Promise<void> {
  const shell = shells.find((known) => known === name)
  if (shell === undefined) throw new AppError('ERR_CLI_USAGE', `"${name}" is not one of ${shells.join(', ')}`)
  process.stdout.write(formatCompletion(createProgram(), shell))
}
