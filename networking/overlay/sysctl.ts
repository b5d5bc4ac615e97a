import { readFileSync, writeFileSync } from 'node:fs'
import { AppError, hasCode } from '../../core/base/errors.ts'
import { ipv6Forwarding, type SysctlSetting } from './desired-sysctls.ts'

/** Kernel settings of one network namespace. */
export interface Sysctl {
  /** @returns undefined when the kernel has no such setting */
  read(name: string): string | undefined
  /** @throws ERR_OVERLAY_SYSCTL when the kernel refuses it */
  write(name: string, value: string): void
}

/**
 * Those of the calling thread's network namespace. Synchronous for that reason: a pool thread, where promises of
 * `node:fs` do their work, may be in another namespace than the main thread.
 */
export const procSysctl: Sysctl = {
  read: (name) => {
    try {
      return readFileSync(`/proc/sys/${name}`, 'utf8').trim()
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined
      throw new AppError('ERR_OVERLAY_SYSCTL', `can't read /proc/sys/${name}: is /proc mounted?`, { cause: error })
    }
  },
  write: (name, value) => {
    try {
      writeFileSync(`/proc/sys/${name}`, value)
    } catch (error) {
      const advice = 'it must be writable for the node daemon; in a container, mount /proc/sys/net read-write'
      throw new AppError('ERR_OVERLAY_SYSCTL', `can't set /proc/sys/${name} to ${value}: ${advice}`, { cause: error })
    }
  },
}

/**
 * Sets what differs. Where that turns IPv6 forwarding on, devices of others that take part in router advertisements are
 * told to go on (`accept_ra` 2), so that the machine keeps its default route.
 * @param others names of the devices that are not ours
 * @returns the settings that were changed
 */
export function applySysctls(
  sysctl: Sysctl,
  wanted: readonly SysctlSetting[],
  others: readonly string[],
): readonly SysctlSetting[] {
  const changes = wanted.filter(({ name, value, onlyFrom }) => {
    const found = sysctl.read(name)
    return onlyFrom === undefined ? found !== value : found === onlyFrom
  })
  const listening = changes.some(({ name }) => name === ipv6Forwarding)
    ? others.map((device) => `net/ipv6/conf/${device}/accept_ra`).filter((name) => sysctl.read(name) === '1')
    : []
  const all = [...listening.map((name) => ({ name, value: '2' })), ...changes]
  for (const { name, value } of all) sysctl.write(name, value)
  return all
}

/** As the command that does it: `sysctl -w net/ipv4/ip_forward=1` (slashes are allowed, and safe with any device name). */
export function formatSysctl({ name, value }: SysctlSetting): string {
  return `sysctl -w ${name}=${value}`
}
