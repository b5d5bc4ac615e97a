import { closeSync, constants, fstatSync, openSync, statfsSync, statSync } from 'node:fs'
import { AppError, hasCode } from '../../core/base/errors.ts'
import { identityOf, type NetnsIdentity } from './kernel.ts'

/** NSFS_MAGIC, include/uapi/linux/magic.h */
const NSFS_MAGIC = 0x6e736673

/** A container's network namespace, open: it lives on at least until `close`. */
export interface Sandbox {
  readonly path: string
  readonly fd: number
  close(): void
}

/**
 * Opens what CNI_NETNS names, and makes sure that it is a namespace which a container may have, before anything is
 * changed. That it is one for networks is seen when it is entered.
 * @throws ERR_ATTACH_NETNS_GONE when nothing is there; ERR_ATTACH_NETNS for anything but another's namespace
 */
export function openSandbox(path: string, forbidden: readonly NetnsIdentity[]): Sandbox {
  const fd = openNamespaceFile(path)
  try {
    const own = identityOf(fd)
    if (forbidden.some(({ dev, ino }) => dev === own.dev && ino === own.ino)) {
      throw refusal(path, 'is the namespace of this machine or node, not of a container')
    }
    return { path, fd, close: () => closeSync(fd) }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function openNamespaceFile(path: string): number {
  if (!path.startsWith('/') || path.includes('\0')) throw refusal(path, 'is not an absolute path')
  try {
    // Opening can have effects (a device, a FIFO): only what is a file of nsfs is opened, and it is looked at again.
    if (!isNamespaceFile(path)) throw refusal(path, 'is not a namespace')
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    if (fstatSync(fd).isFile() && isNamespaceFile(`/proc/self/fd/${fd}`)) return fd
    closeSync(fd)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR')) {
      throw new AppError('ERR_ATTACH_NETNS_GONE', `CNI_NETNS ${path.slice(0, 200)} does not exist`, { cause })
    }
    throw refusal(path, 'cannot be opened', cause)
  }
  throw refusal(path, 'is not a namespace')
}

function isNamespaceFile(path: string): boolean {
  return statSync(path).isFile() && statfsSync(path).type === NSFS_MAGIC
}

function refusal(path: string, why: string, cause?: unknown): AppError {
  return new AppError(
    'ERR_ATTACH_NETNS',
    `CNI_NETNS ${path.slice(0, 200)} ${why}`,
    cause === undefined ? {} : { cause },
  )
}
