/**
 * Network namespaces. A namespace lives while something holds it: a process, an open descriptor, or a mount of its file,
 * which is how {@link createNetns} keeps one without a process.
 */
import { closeSync, fstatSync, lstatSync, mkdirSync, openSync, unlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError, errorMessage, hasCode } from '../core/base/errors.ts'
import { linkSetRequest } from './netlink/link.ts'
import {
  CLONE_NEWNET,
  insideNamespace,
  type NetnsTarget,
  openNamespace,
  returnTo,
  withNamespace,
} from './netlink/namespace.ts'
import { openNative } from './netlink/native.ts'
import { NETLINK_ROUTE } from './netlink/port.ts'
import { openNetlinkSocket } from './netlink/socket.ts'

/** MS_BIND, include/uapi/linux/mount.h; MNT_DETACH and UMOUNT_NOFOLLOW, include/linux/fs.h */
const MS_BIND = 4096
const MNT_DETACH = 2
const UMOUNT_NOFOLLOW = 8
/** More mounts on one file than any accident makes. */
const maxStackedMounts = 64

/** An open namespace; it lives on at least until `close`. */
export interface Netns {
  readonly fd: number
  close(): void
}

/**
 * Opens a namespace by path.
 * @throws ERR_NETNS_NOT_FOUND when nothing is there; ERR_NETNS_INVALID when it is something else
 */
export function openNetns(path: string): Netns {
  const fd = openNamespace(path)
  return { fd, close: () => closeSync(fd) }
}

/**
 * Runs `fn` inside a namespace and comes back, also when it throws. `fn` must not wait; sockets that it makes stay in
 * that namespace. When the way back fails the process ends.
 * @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NETNS_ASYNC, ERR_NATIVE_EPERM
 */
export function insideNetns<T>(target: NetnsTarget, fn: () => T): T {
  return withNamespace(target, (fd) => insideNamespace(openNative(), fd, fn))
}

/**
 * Makes a namespace with loopback up and pins it at `path`; folders above are made.
 * @throws ERR_NETNS_EXISTS when something is at `path`; ERR_NATIVE_EPERM
 */
export function createNetns(path: string): void {
  const native = openNative()
  mkdirSync(dirname(path), { recursive: true })
  createMountPoint(path)
  const back = openSync('/proc/thread-self/ns/net', 'r')
  try {
    native.namespaces.unshare(CLONE_NEWNET)
    try {
      raiseLoopback()
      native.namespaces.mount({ source: '/proc/thread-self/ns/net', target: path, type: 'none', flags: MS_BIND })
    } finally {
      returnTo(native, back)
    }
  } catch (error) {
    unlinkSync(path)
    throw error
  } finally {
    closeSync(back)
  }
}

/**
 * Pins the network namespace of a process at `path`; folders above are made. The process must be of this machine and
 * seen here. @throws ERR_NETNS_EXISTS, ERR_NETNS_INVALID, ERR_NATIVE_EPERM
 */
export function pinNetns(pid: number, path: string): void {
  const source = `/proc/${pid}/ns/net`
  if (!isNetns(source))
    throw new AppError('ERR_NETNS_INVALID', `process ${pid} has no network namespace to be seen here`)
  mkdirSync(dirname(path), { recursive: true })
  createMountPoint(path)
  try {
    openNative().namespaces.mount({ source, target: path, type: 'none', flags: MS_BIND })
  } catch (error) {
    unlinkSync(path)
    throw error
  }
}

function createMountPoint(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o444))
  } catch (cause) {
    if (!hasCode(cause, 'EEXIST')) {
      throw new AppError('ERR_NETNS_PATH', `cannot pin a namespace at ${path}: ${errorMessage(cause)}`, { cause })
    }
    throw new AppError('ERR_NETNS_EXISTS', `${path} is there already: delete that namespace first`, { cause })
  }
}

function raiseLoopback(): void {
  const socket = openNetlinkSocket({ protocol: NETLINK_ROUTE })
  try {
    socket.request(linkSetRequest('lo', 0, { state: 'up' }))
  } finally {
    socket.close()
  }
}

/**
 * Unpins a namespace and removes its file; nothing there is fine. It ends when nothing else holds it.
 * @throws ERR_NETNS_INVALID when `path` is neither a pinned namespace nor an empty file that once was one (after a reboot);
 *   ERR_NATIVE_EPERM
 */
export function deleteNetns(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isFile() || stat.size > 0) {
    throw new AppError('ERR_NETNS_INVALID', `${path} is not a pinned network namespace: it is left alone`)
  }
  const { namespaces } = openNative()
  for (let i = 0; i < maxStackedMounts && isNetns(path); i++) {
    namespaces.unmount(path, MNT_DETACH | UMOUNT_NOFOLLOW)
  }
  unlinkSync(path)
}

/** True when the path leads to a network namespace. */
export function isNetns(path: string): boolean {
  try {
    closeSync(openNamespace(path))
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_NETNS_NOT_FOUND') || hasCode(error, 'ERR_NETNS_INVALID')) return false
    throw error
  }
}

/** True when both lead to one namespace. @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID */
export function sameNetns(a: NetnsTarget, b: NetnsTarget): boolean {
  const [first, second] = [a, b].map((target) => withNamespace(target, (fd) => fstatSync(fd)))
  return first?.ino === second?.ino && first?.dev === second?.dev
}
