import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCode } from '../../base/errors.ts'
import { type HostView, sandboxMount } from './spec.ts'

/** Made by the runtime, or replaced by memory file systems; mnt holds the sandbox. */
const notShared: ReadonlySet<string> = new Set(['proc', 'sys', 'dev', 'run', 'tmp', 'mnt', 'lost+found'])

/**
 * Makes the root file system that containers share at `rootfs` (mount points and the host's top-level links), and says
 * what of the host they see in it. `hidden` directories are covered where they would be seen.
 */
export function prepareHostView(rootfs: string, hidden: readonly string[]): HostView {
  mkdirSync(join(rootfs, sandboxMount), { recursive: true })
  const directories: string[] = []
  for (const name of readdirSync('/')) {
    if (notShared.has(name)) continue
    const stat = lstatSync(`/${name}`)
    if (stat.isSymbolicLink()) linkIfAbsent(readlinkSync(`/${name}`), join(rootfs, name))
    else if (stat.isDirectory()) directories.push(`/${name}`)
  }
  for (const path of [...directories, '/proc', '/sys', '/dev', '/run', '/tmp']) {
    mkdirSync(join(rootfs, path), { recursive: true })
  }
  return {
    directories,
    scratch: ['/tmp', '/run', '/var/tmp'].filter((path) => existsSync(path)),
    hidden: hidden.filter((path) => existsSync(path)).map((path) => realpathSync(path)),
    passwd: existsSync('/etc/passwd') ? readFileSync('/etc/passwd', 'utf8') : '',
  }
}

function linkIfAbsent(target: string, path: string): void {
  try {
    symlinkSync(target, path)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}
