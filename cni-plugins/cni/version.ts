import { AppError } from '../../core/base/errors.ts'

/** Versions of the CNI specification that are spoken here, oldest first. */
export const cniVersions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const

/** One of {@link cniVersions}. */
export type CniVersion = (typeof cniVersions)[number]

/** What is assumed where nothing better is known, as in an error about an unreadable configuration. */
export const newestCniVersion: CniVersion = '1.1.0'

/**
 * An absent or empty version means 0.1.0. Source: libcni, pkg/version/conf.go.
 * @throws ERR_CNI_VERSION
 */
export function parseCniVersion(value: unknown): CniVersion {
  if (value === undefined || value === '') return '0.1.0'
  const known = cniVersions.find((version) => version === value)
  if (known !== undefined) return known
  const shown = JSON.stringify(value)?.slice(0, 80)
  throw new AppError('ERR_CNI_VERSION', `cniVersion ${shown} is not supported; use one of ${cniVersions.join(', ')}`)
}

/** True when `version` is `minimum` or newer. */
export function isAtLeast(version: CniVersion, minimum: CniVersion): boolean {
  return cniVersions.indexOf(version) >= cniVersions.indexOf(minimum)
}

/** The answer to VERSION. `cniVersion` is echoed even when it is none of ours, as the specification asks. */
export function formatVersions(cniVersion: string): string {
  return `${JSON.stringify({ cniVersion, supportedVersions: cniVersions })}\n`
}
