/**
 * UDP sockets by system calls: many datagrams with one call, from any thread. Node's dgram does one recvmsg, one sendmsg and
 * one callback for each packet, which is most of what an answer costs (reference/dns-performance.md).
 *
 * koffi is used here besides networking/netlink/native.ts because discovery imports no other domain, and because this file
 * is loaded in threads of its own, which need nothing of netlink.
 */
import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { AppError } from '../../core/base/errors.ts'
import { type Ip, ipFamily, ipToBytes } from '../../core/base/ip.ts'
import { maxMessageBytes } from '../dns/constants.ts'
import { addressBytes, type Batch, batchSize, makeBatch, mmsghdrBytes, segmentOption } from './batch.ts'

/** include/uapi/asm-generic/errno-base.h */
const EAGAIN = 11
/** include/linux/socket.h */
const flags = { MSG_DONTWAIT: 0x40, SOCK_DGRAM: 2, SOCK_CLOEXEC: 0x80000, AF_INET: 2, AF_INET6: 10 } as const
/** include/uapi/asm-generic/socket.h; IPPROTO_IPV6 and IPV6_V6ONLY: include/uapi/linux/in6.h */
const option = { SOL_SOCKET: 1, SO_RCVBUF: 8, SO_REUSEPORT: 15, IPPROTO_IPV6: 41, IPV6_V6ONLY: 26 } as const
/** EFD_CLOEXEC | EFD_NONBLOCK, include/linux/eventfd.h */
const eventfdFlags = 0x80800
/** include/uapi/linux/prctl.h */
const PR_SET_TIMERSLACK = 29
/** How much later than asked for a thread may be woken: by default as much again as it waits. */
const timerSlackNs = 1000
/** include/uapi/asm-generic/poll.h */
const POLLIN = 1

/** Calls on UDP sockets; none waits but `poll`. */
export interface UdpCalls {
  /** A bound socket; port 0: any. @throws ERR_DNS_LISTEN */
  open(where: { readonly address: Ip; readonly port: number; readonly shared: boolean }): {
    readonly fd: number
    readonly port: number
  }
  close(fd: number): void
  makeBatch(): Batch
  /** How many packets came; 0: none is there. */
  receive(fd: number, batch: Batch): number
  /** Sends the first `count` responses. @returns how many could not be sent */
  send(fd: number, batch: Batch, count: number): number
  /** Sends one datagram. @returns false when the kernel did not take it */
  sendTo(fd: number, bytes: Uint8Array, address: Uint8Array): boolean
  /** A descriptor that becomes readable when 8 octets are written to it. */
  eventfd(): number
  /** Makes a function that waits so long, as exactly as the kernel can. For the thread that calls this. */
  makePause(microseconds: number): () => void
  /** Makes a function that waits until one of the descriptors is readable or the time is over, and tells which by bit. */
  makePoll(fds: readonly number[]): (timeoutMs: number) => number
  /**
   * Calls back from the thread's event loop while the descriptor is readable, until what it returns is called. The call is
   * bare: promises and ticks that begin in it wait for the loop's next turn, and nothing may throw.
   */
  onReadable(fd: number, ready: () => void): () => void
}

/** @throws ERR_DNS_NATIVE when koffi's binary is not installed, or on another machine than 64-bit little-endian */
export function openUdpCalls(): UdpCalls {
  const koffi = loadKoffi()
  const libc = koffi.load(null)
  const c = {
    recvmmsg: libc.func('int recvmmsg(int, int64_t, uint, int, int64_t)'),
    sendmmsg: libc.func('int sendmmsg(int, int64_t, uint, int)'),
    sendto: libc.func('long sendto(int, int64_t, size_t, int, int64_t, uint)'),
    eventfd: libc.func('int eventfd(uint, int)'),
    poll: libc.func('int poll(int64_t, ulong, int)'),
    close: libc.func('int close(int)'),
    nanosleep: libc.func('int nanosleep(int64_t, int64_t)'),
    prctl: libc.func('int prctl(int, ulong, ulong, ulong, ulong)'),
  } satisfies Record<string, (...args: never[]) => number>
  const sendTo = makeSendTo(koffi, c.sendto)
  return {
    open: (where) => openSocket(koffi, libc, where),
    close: (fd) => {
      c.close(fd)
    },
    makeBatch: () => {
      const allocate = (bytes: number) => {
        const address: bigint = koffi.alloc('uint8_t', bytes)
        return { address, buffer: koffi.view(address, bytes) }
      }
      return makeBatch(allocate, canCut(libc) ? 'cut' : 'never')
    },
    receive: (fd, batch) => {
      batch.clear()
      const count = c.recvmmsg(fd, batch.received, batchSize, flags.MSG_DONTWAIT, 0)
      return count < 0 ? 0 : count
    },
    send: (fd, batch, count) => {
      const messages = batch.gather(count)
      let failed = 0
      for (let done = 0; done < messages; ) {
        const at = batch.sending + BigInt(done * mmsghdrBytes)
        const sent: number = c.sendmmsg(fd, at, messages - done, flags.MSG_DONTWAIT)
        if (sent > 0) done += sent
        else if (sent < 0 && koffi.errno() === EAGAIN) failed += batch.parts(done++).length
        else failed += sendApart(batch.parts(done++), (part) => sendTo(fd, part.bytes, part.to))
      }
      return failed
    },
    sendTo,
    eventfd: () => c.eventfd(0, eventfdFlags),
    makePause: (microseconds) => {
      const address: bigint = koffi.alloc('uint8_t', 16)
      new BigInt64Array(koffi.view(address, 16)).set([0n, BigInt(microseconds) * 1000n])
      c.prctl(PR_SET_TIMERSLACK, timerSlackNs, 0, 0, 0)
      return () => {
        c.nanosleep(address, 0)
      }
    },
    makePoll: (fds) => {
      const address: bigint = koffi.alloc('uint8_t', 8 * fds.length)
      const words = new Int32Array(koffi.view(address, 8 * fds.length))
      for (const [i, fd] of fds.entries()) words.set([fd, POLLIN], 2 * i)
      return (timeoutMs) => {
        if (c.poll(address, fds.length, timeoutMs) <= 0) return 0
        let ready = 0
        for (let i = 0; i < fds.length; i++) if ((words[2 * i + 1] ?? 0) >>> 16 !== 0) ready |= 1 << i
        return ready
      }
    },
    onReadable: (fd, ready) => onReadable(koffi, fd, ready),
  }
}

/** Numbers are addresses. sendto(2) */
type SendTo = (fd: number, at: bigint, length: number, flags: number, to: bigint, toLength: number) => number

/** Sends from memory of its own: arrays that are handed to the kernel themselves get memory outside of the heap first. */
function makeSendTo(koffi: typeof Koffi, sendto: SendTo): UdpCalls['sendTo'] {
  const room = maxMessageBytes + addressBytes
  const at: bigint = koffi.alloc('uint8_t', room)
  const memory = new Uint8Array(koffi.view(at, room))
  const to = at + BigInt(maxMessageBytes)
  return (fd, bytes, address) => {
    if (bytes.length > maxMessageBytes || address.length > addressBytes) return false
    memory.set(bytes)
    memory.set(address, maxMessageBytes)
    return sendto(fd, at, bytes.length, flags.MSG_DONTWAIT, to, address.length) >= 0
  }
}

/**
 * What did not go as one message: a single response has no way back (port 0, an address that is unreachable), several may
 * have one apart (a path whose MTU is small). @returns how many could not be sent
 */
function sendApart<T>(parts: readonly T[], send: (part: T) => boolean): number {
  return parts.length === 1 ? 1 : parts.filter((part) => !send(part)).length
}

/** True when the kernel cuts messages into datagrams; one that does not know how would send them whole. */
function canCut(libc: Koffi.LibraryHandle): boolean {
  const socket = libc.func('int socket(int, int, int)')
  const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)')
  const fd: number = socket(flags.AF_INET, flags.SOCK_DGRAM | flags.SOCK_CLOEXEC, 0)
  const length = new Uint8Array(Int32Array.of(4).buffer)
  const known = getsockopt(fd, segmentOption.level, segmentOption.name, new Uint8Array(4), length) === 0
  libc.func('int close(int)')(fd)
  return known
}

/** libuv stops looking at a descriptor that has an error; reading takes the error away, then it may look again. */
function onReadable(koffi: typeof Koffi, fd: number, ready: () => void): () => void {
  let open = true
  // The status comes first, unlike in koffi's types.
  const called = (status: unknown) => {
    if (!open) return
    ready()
    if (typeof status === 'number' && status < 0) handle.start({ readable: true }, called)
  }
  const handle = koffi.node.poll(fd, { readable: true }, called)
  return () => {
    open = false
    handle.close()
  }
}

function loadKoffi(): typeof Koffi {
  if (!['x64', 'arm64'].includes(process.arch)) {
    throw new AppError('ERR_DNS_NATIVE', `no layout of system calls is known for ${process.arch}`)
  }
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi // require() is untyped; koffi ships these types
  } catch (cause) {
    throw new AppError('ERR_DNS_NATIVE', 'koffi has no binary here: install without --omit=optional', { cause })
  }
}

/** Asked for; the kernel gives less where `net.core.rmem_max` is lower. Room for a burst while the thread is busy. */
const receiveBufferBytes = 1 << 22

function openSocket(
  koffi: typeof Koffi,
  libc: Koffi.LibraryHandle,
  { address, port, shared }: { readonly address: Ip; readonly port: number; readonly shared: boolean },
): { readonly fd: number; readonly port: number } {
  const socket = libc.func('int socket(int, int, int)')
  const bind = libc.func('int bind(int, void *, uint)')
  const setsockopt = libc.func('int setsockopt(int, int, int, void *, uint)')
  const getsockname = libc.func('int getsockname(int, void *, void *)')
  const close = libc.func('int close(int)')
  const six = ipFamily(address) === 6
  const fd: number = socket(six ? flags.AF_INET6 : flags.AF_INET, flags.SOCK_DGRAM | flags.SOCK_CLOEXEC, 0)
  const set = (level: number, name: number, value: number) =>
    setsockopt(fd, level, name, new Uint8Array(Int32Array.of(value).buffer), 4)
  set(option.SOL_SOCKET, option.SO_RCVBUF, receiveBufferBytes)
  if (shared) set(option.SOL_SOCKET, option.SO_REUSEPORT, 1)
  if (six) set(option.IPPROTO_IPV6, option.IPV6_V6ONLY, 1)
  const name = socketAddress(address, port)
  if (fd < 0 || bind(fd, name, name.length) < 0) {
    const errno: number = koffi.errno()
    if (fd >= 0) close(fd)
    throw new AppError('ERR_DNS_LISTEN', `can't answer DNS on ${address} UDP port ${port}: errno ${errno}`, {
      details: { errno },
    })
  }
  const bound = new Uint8Array(addressBytes)
  getsockname(fd, bound, new Uint8Array(Int32Array.of(addressBytes).buffer))
  return { fd, port: ((bound[2] ?? 0) << 8) | (bound[3] ?? 0) }
}

/** `struct sockaddr_in` or `sockaddr_in6`: the family in the machine's order, the port in the network's. */
function socketAddress(address: Ip, port: number): Uint8Array {
  const six = ipFamily(address) === 6
  const bytes = new Uint8Array(six ? addressBytes : 16)
  bytes.set([six ? flags.AF_INET6 : flags.AF_INET, 0, port >> 8, port & 0xff])
  bytes.set(ipToBytes(address), six ? 8 : 4)
  return bytes
}
