import { spawn } from 'node:child_process'
import { accessSync, constants, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { formatWeftConflist } from '../../cni-plugins/cni/conflist.ts'
import { buildClients, type CniNode } from './cni-node.ts'

/** Why a test must be skipped: the first of these programs that is not there, with its Debian package; or false. */
export function missingProgram(programs: Readonly<Record<string, string>>): string | false {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  for (const [program, name] of Object.entries(programs)) {
    const candidates = program.startsWith('/') ? [program] : folders.map((folder) => join(folder, program))
    if (!candidates.some(isExecutable)) return `needs ${program} (Debian package ${name})`
  }
  return false
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // ENOENT, EACCES
  }
}

/** Folders as `weft cni install` makes them, and a root file system of busybox, below the node's folder. */
export interface RuntimeFolders {
  readonly bin: string
  readonly conf: string
  readonly rootfs: string
}

/** Makes them. */
export function makeRuntimeFolders(node: CniNode): RuntimeFolders {
  const { directory } = node
  const folders = { bin: join(directory, 'bin'), conf: join(directory, 'net.d'), rootfs: join(directory, 'rootfs') }
  const [client = ''] = buildClients(directory).values()
  mkdirSync(folders.bin)
  for (const name of ['weft', 'weft-ipam']) cpSync(client, join(folders.bin, name))
  mkdirSync(folders.conf)
  writeFileSync(join(folders.conf, '50-weft-dcos.conflist'), formatWeftConflist('dcos', node.socketPath))
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'run', 'var']) {
    mkdirSync(join(folders.rootfs, name), { recursive: true })
  }
  cpSync('/usr/bin/busybox', join(folders.rootfs, 'bin', 'busybox'), { dereference: true })
  for (const name of ['sh', 'ip', 'cat', 'sleep', 'ping', 'nc'])
    symlinkSync('busybox', join(folders.rootfs, 'bin', name))
  return folders
}

/** Runs a program beside this process, which serves the plugin meanwhile. Both outputs come back. */
export function runBeside(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly exitCode: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const chunks: Buffer[] = []
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    child.once('error', reject)
    child.once('exit', (code) => {
      clearTimeout(timer)
      // Not 'close': a container that stays may hold the pipes.
      setImmediate(() => resolve({ exitCode: code ?? -1, output: Buffer.concat(chunks).toString() }))
    })
  })
}
