import { enableCompileCache } from 'node:module'

// Before anything else is imported: type stripping and compiling are most of a command's time.
enableCompileCache()

if (process.argv[2] === '__complete') {
  const { complete } = await import('./complete.ts')
  await complete(process.argv.slice(3))
} else {
  const { runCommand } = await import('./run.ts')
  process.exitCode = await runCommand(process.argv)
}
