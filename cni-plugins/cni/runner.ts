import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../../core/base/errors.ts'
import { type PluginCall, type PluginExit, type PluginRunner } from './invoke.ts'

/** Where plugins are, and what they inherit. */
export interface PluginRunnerOptions {
  /** Searched in order. */
  readonly directories: readonly string[]
  /** Environment that plugins get beside CNI_*: PATH at least. */
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Octets of output that are kept of a plugin. */
const outputLimit = 4 << 20

/** Starts plugins as child processes; an aborted call kills its plugin. */
export function pluginRunner({ directories, env }: PluginRunnerOptions): PluginRunner {
  return {
    searchPath: directories.join(':'),
    find: async (type) => findPlugin(type, directories),
    run: async (call, { signal }) => runPlugin(call, { env: { ...env, ...call.env }, signal }),
  }
}

async function findPlugin(type: string, directories: readonly string[]): Promise<string> {
  for (const directory of directories) {
    const path = join(directory, type)
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (found) return path
  }
  const where = directories.join(', ')
  throw new AppError('ERR_CNI_PLUGIN_MISSING', `no CNI plugin "${type}" in ${where}: install it or correct the path`)
}

function runPlugin(
  { path, stdin }: PluginCall,
  { env, signal }: { readonly env: PluginRunnerOptions['env']; readonly signal: AbortSignal },
): Promise<PluginExit> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { env, signal, killSignal: 'SIGKILL', stdio: 'pipe' })
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
    child.once('error', (cause) => {
      if (signal.aborted) reject(signal.reason)
      else reject(new AppError('ERR_CNI_PLUGIN', `cannot start ${path}: ${cause.message}`, { cause }))
    })
    child.once('close', (code, killedBy) => {
      resolve({
        exitCode: code ?? 128,
        stdout: stdout(),
        stderr: killedBy === null ? stderr() : `killed by ${killedBy}`,
      })
    })
    // A plugin may exit without reading: EPIPE then says nothing that its exit status does not.
    child.stdin.on('error', () => undefined)
    child.stdin.end(stdin)
  })
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    if (size < outputLimit) chunks.push(chunk)
    size += chunk.length
  })
  return () => Buffer.concat(chunks).toString('utf8')
}
