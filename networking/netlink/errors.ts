import { getSystemErrorMessage } from 'node:util'
import { AppError } from '../../core/base/errors.ts'
import { type Acknowledgement } from './message.ts'
import { errnoName } from './native.ts'

/** What a person can do about an errno; the others speak for themselves or carry the kernel's text. */
const advice: Readonly<Record<string, string>> = {
  EPERM: 'CAP_NET_ADMIN is needed in this namespace: run as root, or inside `unshare -rn`',
  EOPNOTSUPP: 'the kernel lacks this: load its module, or see the kernel version that the README asks for',
  ENOBUFS: 'the kernel dropped replies: what became of it is unknown, read the state again',
  ENETDOWN: 'the device is down: set it up first',
  EINVAL: 'the kernel refuses a value',
}

/**
 * The error of a refused request: code `ERR_NETLINK_<ERRNO>`; `details` has `errno` (its name), `command` (as an operator
 * would type it) and, where the kernel said so, `extendedAck` and `offset` (of the attribute, in the request).
 */
export function kernelError(ack: Acknowledgement, command: string): AppError {
  const errno = errnoName(ack.errno)
  const reason = [ack.message ?? systemMessage(ack.errno), advice[errno]].filter((part) => part !== undefined)
  return new AppError(`ERR_NETLINK_${errno}`, `${command}: ${errno}: ${reason.join('; ')}`, {
    details: {
      errno,
      command,
      ...(ack.message === undefined ? {} : { extendedAck: ack.message }),
      ...(ack.offset === undefined ? {} : { offset: ack.offset }),
      ...(ack.missingType === undefined ? {} : { missingAttribute: ack.missingType }),
    },
  })
}

function systemMessage(errno: number): string | undefined {
  const message = getSystemErrorMessage(-errno)
  return message?.startsWith('Unknown system error') ? undefined : message
}

/** True for a refusal by the kernel with one of these errno names. */
export function isErrno(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof AppError && names.some((name) => error.code === `ERR_NETLINK_${name}`)
}
