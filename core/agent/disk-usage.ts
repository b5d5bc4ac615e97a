import { runProgram } from './run-program.ts'

/**
 * Octets that directories take on disk, without what is mounted in them; what has gone meanwhile counts nothing. By du,
 * in a process of its own: a large tree must not hold the agent up. @throws ERR_AGENT_PROGRAM
 */
export async function diskUsageBytes(
  directories: readonly string[],
  { signal }: { readonly signal: AbortSignal },
): Promise<number> {
  // du fails when a file vanishes under it, and still tells the sum.
  const script = 'du -skxc -- "$@" 2>/dev/null | tail -n 1'
  const args = ['-c', script, 'du', ...directories]
  const output = await runProgram({ program: '/bin/sh', args, install: 'coreutils' }, { signal })
  return (Number.parseInt(output.toString('utf8'), 10) || 0) * 1024
}
