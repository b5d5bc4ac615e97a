/**
 * Where the guest's kernel comes from: User Mode Linux, an ordinary program, so neither /dev/kvm nor an image is needed.
 * In order: WEFT_TEST_KERNEL (a program); the compressed one beside the repository; Debian's package, unpacked and not
 * installed, which has IPVS but no nftables for IP. What was made is kept below ~/.cache.
 */
import { execFileSync } from 'node:child_process'
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorMessage } from '../../core/base/errors.ts'

/** A kernel that can be booted. */
export interface GuestKernel {
  readonly program: string
  /** Folder of its modules, when they are not built in. */
  readonly modules?: string
  /** kmod, unpacked, to load them with. */
  readonly kmod?: string
  /** A library to preload into it. */
  readonly preload?: string
}

const beside = fileURLToPath(new URL('../../../shared/testvm/kernel/linux-7.3.xz', import.meta.url))
/** Fetching hangs where the registry is out of reach. */
const downloadTimeoutMs = 90_000
const shimSource = fileURLToPath(new URL('xstate-shim.c', import.meta.url))

/** Folder for what is fetched or unpacked once. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'weft', 'guest')
}

/** The kernel, made ready when it was not, or the reason why there is none. */
export function prepareKernel(): GuestKernel | string {
  const given = process.env['WEFT_TEST_KERNEL']
  try {
    if (given !== undefined) return isProgram(given) ? { program: given } : `WEFT_TEST_KERNEL: ${given} is no program`
    return existsSync(beside) ? unpackBeside() : unpackDebian()
  } catch (error) {
    return `no kernel for the test guest: ${errorMessage(error).split('\n')[0]}`
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // ENOENT or EACCES
  }
}

function unpackBeside(): GuestKernel {
  const { size, mtimeMs } = statSync(beside)
  const program = join(cacheFolder(), `linux-${size}-${Math.trunc(mtimeMs)}`)
  if (!isProgram(program)) {
    inWorkFolder((work) => {
      const unpacked = join(work, 'linux')
      writeFileSync(unpacked, execFileSync('xz', ['-dc', beside], { maxBuffer: 1 << 28 }))
      chmodSync(unpacked, 0o755)
      renameSync(unpacked, program)
    })
  }
  return { program }
}

function unpackDebian(): GuestKernel {
  const folder = join(cacheFolder(), 'user-mode-linux')
  const preload = join(folder, 'xstate-shim.so')
  const kmod = join(folder, 'bin/kmod')
  if (!existsSync(preload) || !existsSync(kmod)) {
    inWorkFolder((work) => {
      const made = join(work, 'unpacked')
      unpackPackages(['user-mode-linux', 'kmod', 'libkmod2'], { into: made, work })
      execFileSync('gcc', ['-O2', '-shared', '-fPIC', '-o', join(made, 'xstate-shim.so'), shimSource, '-ldl'])
      rmSync(folder, { recursive: true, force: true })
      renameSync(made, folder)
    })
  }
  return { program: join(folder, 'usr/bin/linux.uml'), modules: join(folder, 'usr/lib/uml/modules'), kmod, preload }
}

/** Debian packages unpacked into a folder, without installing anything. @throws what apt-get or dpkg says */
export function unpackPackages(
  names: readonly string[],
  { into, work }: { readonly into: string; readonly work: string },
): void {
  const download = ['-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'APT::Sandbox::User=root', 'download', ...names]
  execFileSync('apt-get', download, { cwd: work, stdio: ['ignore', 'pipe', 'pipe'], timeout: downloadTimeoutMs })
  mkdirSync(into, { recursive: true })
  for (const file of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
    execFileSync('dpkg', ['-x', join(work, file), into])
  }
}

/** A folder in the cache for making something; what is renamed out of it stays, so that two that prepare don't meet. */
export function inWorkFolder(make: (work: string) => void): void {
  mkdirSync(cacheFolder(), { recursive: true })
  const work = mkdtempSync(join(cacheFolder(), 'work-'))
  try {
    make(work)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
