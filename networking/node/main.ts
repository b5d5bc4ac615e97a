/**
 * `weft net`: the node daemon. It belongs into the node's network namespace, follows the cluster's snapshot and programs
 * it; answers the CNI plugin and DNS. SIGTERM ends it and leaves the kernel as it is: the next start takes that over.
 */
import { mkdirSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

/**
 * Most of a start is stripping types and compiling, so what was compiled is kept: names are answered again in half the time.
 * In the daemon's own folder, since whoever can write there can make it run anything. Threads find the folder by the
 * variable. Before anything else is loaded, or that would not be kept.
 */
function keepCompiled(argv: readonly string[]): void {
  const { values } = parseArgs({ args: [...argv], options: { 'state-dir': { type: 'string' } }, strict: false })
  const stateDir = values['state-dir']
  if (process.env['NODE_COMPILE_CACHE'] !== undefined || typeof stateDir !== 'string') return
  const folder = join(stateDir, 'compiled')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  process.env['NODE_COMPILE_CACHE'] = folder
  enableCompileCache(folder)
}

try {
  const argv = process.argv.slice(2)
  keepCompiled(argv)
  const { startDaemon } = await import('./start.ts')
  await startDaemon(argv)
  process.exit(0)
} catch (error) {
  process.stderr.write(`weft net: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
