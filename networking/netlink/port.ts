import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { AppError } from '../../core/base/errors.ts'
import { kernelError } from './errors.ts'
import { insideNamespace, type NetnsTarget, withNamespace } from './namespace.ts'
import { errnoName, type Native, openNative } from './native.ts'
import { Writer } from './writer.ts'

/** NETLINK_ROUTE, NETLINK_NETFILTER and NETLINK_GENERIC, include/uapi/linux/netlink.h */
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12
export const NETLINK_GENERIC = 16

/** Where and how to open. */
export interface NetlinkOptions {
  readonly protocol: number
  /** Path or descriptor of the namespace; the thread's own when absent. */
  readonly netns?: NetnsTarget | undefined
  /** Multicast groups to join. */
  readonly groups?: readonly number[]
  /** Receive buffer; a batch of refused requests must fit, and so must a burst of notifications. */
  readonly receiveBufferBytes?: number
}

/** An open descriptor with its buffers; what the transport is made of. */
export interface NetlinkPort {
  /** @throws ERR_NETLINK_CLOSED after `close` */
  readonly fd: number
  readonly native: Native
  readonly writer: Writer
  readonly receiveBuffer: Buffer
  /** How many answers may be outstanding without overflowing the receive buffer. */
  readonly maxOutstanding: number
  /** Modulo 2^32. */
  readonly nextSequence: () => number
  /** Doing it again does nothing. */
  close(): void
}

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOL_SOCKET = 1
const SOL_NETLINK = 270
/** Options of SOL_SOCKET, include/uapi/asm-generic/socket.h */
const SO_RCVBUF = 8
const SO_RCVBUFFORCE = 33
/** Options of SOL_NETLINK, include/uapi/linux/netlink.h */
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12

const defaultReceiveBufferBytes = 4 << 20
/** What SO_RCVBUF gives without privilege, and a generous share of it for each answer. */
const unprivilegedReceiveBytes = 212_992
const bytesPerAnswer = 1024
/** Opens and binds the descriptor. @throws ERR_NATIVE_<ERRNO>, ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID */
export function openPort({ protocol, netns, groups = [], receiveBufferBytes }: NetlinkOptions): NetlinkPort {
  const native = openNative()
  const create = () => native.sockets.socket(AF_NETLINK, SOCK_RAW, protocol)
  const fd = netns === undefined ? create() : withNamespace(netns, (target) => insideNamespace(native, target, create))
  try {
    const granted = configure(native, fd, receiveBufferBytes ?? defaultReceiveBufferBytes)
    const address = Buffer.alloc(12)
    address.writeUInt16LE(AF_NETLINK, 0)
    native.sockets.bind(fd, address)
    for (const group of groups) setNetlinkOption(native, fd, { name: NETLINK_ADD_MEMBERSHIP, value: group })
    let sequence = 0
    let open = true
    return {
      get fd() {
        // The number may be someone else's by now.
        if (!open) throw new AppError('ERR_NETLINK_CLOSED', 'this netlink socket is closed: open a new one')
        return fd
      },
      native,
      writer: new Writer(1 << 16),
      receiveBuffer: Buffer.allocUnsafeSlow(1 << 16),
      maxOutstanding: Math.min(2048, Math.floor(granted / bytesPerAnswer)),
      nextSequence: () => {
        sequence = (sequence + 1) >>> 0
        return sequence
      },
      close: () => {
        if (open) closeSync(fd)
        open = false
      },
    }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** @returns octets of the receive buffer that was granted */
function configure(native: Native, fd: number, receiveBytes: number): number {
  for (const name of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK]) {
    setNetlinkOption(native, fd, { name, value: 1 })
  }
  // Privileged in the machine's own user namespace only; elsewhere the system's limit holds.
  if (native.sockets.setsockopt(fd, { level: SOL_SOCKET, name: SO_RCVBUFFORCE }, receiveBytes) === 0) {
    return receiveBytes
  }
  native.sockets.setsockopt(fd, { level: SOL_SOCKET, name: SO_RCVBUF }, receiveBytes)
  return Math.min(receiveBytes, unprivilegedReceiveBytes)
}

function setNetlinkOption(native: Native, fd: number, option: { readonly name: number; readonly value: number }): void {
  const result = native.sockets.setsockopt(fd, { level: SOL_NETLINK, name: option.name }, option.value)
  if (result === 0) return
  const errno = errnoName(-result)
  throw new AppError(
    `ERR_NATIVE_${errno}`,
    `netlink socket option ${option.name} failed with ${errno}: Linux 4.20 or newer is needed`,
  )
}

/**
 * Reads one datagram into the port's buffer.
 * @throws ERR_NETLINK_TRUNCATED when it did not fit; ERR_NETLINK_<ERRNO>
 */
export function receiveDatagram({ fd, native, receiveBuffer }: NetlinkPort): number | 'empty' | 'overflow' {
  const length = native.sockets.receive(fd, receiveBuffer)
  if (length > receiveBuffer.length) {
    throw new AppError('ERR_NETLINK_TRUNCATED', `a netlink datagram of ${length} octets is larger than the buffer`)
  }
  if (length >= 0) return length
  if (length === -constants.errno.EAGAIN) return 'empty'
  if (length === -constants.errno.ENOBUFS) return 'overflow'
  throw kernelError({ errno: -length }, 'receive from netlink')
}
