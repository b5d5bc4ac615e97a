import { Command } from 'commander'
import { type GlobalOptions } from './program.ts'

/** Loads a command's module only when it runs: `weft --help` stays quick. */
export function lazy<Options extends GlobalOptions, Args extends readonly unknown[]>(
  load: () => Promise<(options: Options, ...args: Args) => Promise<void>>,
): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const command = args.pop()
    if (!(command instanceof Command)) throw new TypeError('commander calls an action with its command last')
    const run = await load()
    await run(command.optsWithGlobals<Options>(), ...(args.slice(0, -1) as unknown as Args))
  }
}
