import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Native, openNative } from './native.ts'

/** CLONE_NEWNET, include/uapi/linux/sched.h */
export const CLONE_NEWNET = 0x40000000

/** A network namespace: a path that leads to one, or an open descriptor of one (which stays the caller's). */
export type NetnsTarget = string | number

/**
 * Runs `fn` with the calling thread inside the namespace behind `fd`, and comes back whether it returns or throws. Sockets
 * made inside stay in that namespace. `fn` must not wait: everything else of the process runs on this thread too.
 * @throws ERR_NETNS_ASYNC when `fn` returned a promise; ERR_NATIVE_EPERM without privilege. When the way back fails the
 *   process ends: going on would program the wrong machine.
 */
export function insideNamespace<T>(native: Native, fd: number, fn: () => T): T {
  const back = openSync('/proc/thread-self/ns/net', 'r')
  try {
    native.namespaces.setns(fd, CLONE_NEWNET)
    try {
      const result = fn()
      if (result instanceof Promise) {
        throw new AppError('ERR_NETNS_ASYNC', 'the function given to insideNetns waits: do only its opening inside')
      }
      return result
    } finally {
      returnTo(native, back)
    }
  } finally {
    closeSync(back)
  }
}

/** Goes back to the namespace of `fd`, or ends the process. */
export function returnTo(native: Native, fd: number): void {
  try {
    native.namespaces.setns(fd, CLONE_NEWNET)
  } catch (error) {
    writeSync(2, `weft: cannot return to the own network namespace, ending: ${errorMessage(error)}\n`)
    process.kill(process.pid, 'SIGKILL') // not abort(): it is missing in worker threads, and must not be caught
  }
}

/**
 * Opens a network namespace by path; the caller closes the descriptor.
 * @throws ERR_NETNS_NOT_FOUND when nothing is there; ERR_NETNS_INVALID when it is something else
 */
export function openNamespace(path: string): number {
  const fd = openPath(path)
  if (openNative().namespaces.namespaceType(fd) === CLONE_NEWNET) return fd
  closeSync(fd)
  throw new AppError('ERR_NETNS_INVALID', `${path} is not a network namespace`)
}

function openPath(path: string): number {
  try {
    // O_NONBLOCK: a FIFO put there by someone must not stop us.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    const missing = hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR')
    throw new AppError(
      missing ? 'ERR_NETNS_NOT_FOUND' : 'ERR_NETNS_INVALID',
      `cannot open the network namespace ${path}: ${errorMessage(cause)}`,
      { cause },
    )
  }
}

/** Calls `fn` with a descriptor of the target, closed afterwards when it was opened here. */
export function withNamespace<T>(target: NetnsTarget, fn: (fd: number) => T): T {
  if (typeof target === 'number') return fn(target)
  const fd = openNamespace(target)
  try {
    return fn(fd)
  } finally {
    closeSync(fd)
  }
}
