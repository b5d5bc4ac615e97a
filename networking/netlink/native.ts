/**
 * The only file that calls C. koffi is loaded when the first binding is opened, so importing this costs nothing.
 *
 * Rejected: the `netlink` package (aborts the process when notifications overflow), an addon of our own (needs a compiler
 * where Weft is installed), a helper process per call (a hundredth of the speed).
 */
import { createRequire } from 'node:module'
import { constants, endianness } from 'node:os'
import type * as Koffi from 'koffi'
import { AppError } from '../../core/base/errors.ts'

/** System calls on sockets. Those that may fail in the normal course return a negative errno, as the kernel does. */
export interface SocketCalls {
  /** A close-on-exec socket. @throws ERR_NATIVE_<ERRNO> */
  socket(domain: number, type: number, protocol: number): number
  /** `address` is a `struct sockaddr_*`. @throws ERR_NATIVE_<ERRNO> */
  bind(fd: number, address: Uint8Array): void
  /** Sets an `int` option. @returns 0 or a negative errno */
  setsockopt(fd: number, option: { readonly level: number; readonly name: number }, value: number): number
  /** Sends the first `length` octets. @returns 0 or a negative errno */
  send(fd: number, bytes: Uint8Array, length: number): number
  /**
   * As `send`, on another thread: for requests that the kernel takes long for. The octets must not change meanwhile, nor
   * may the descriptor be closed.
   */
  sendElsewhere(fd: number, bytes: Uint8Array, length: number): Promise<number>
  /** Never waits. @returns the datagram's true length (it may exceed the buffer), or a negative errno */
  receive(fd: number, buffer: Uint8Array): number
  /** A second, close-on-exec descriptor of the same socket; it outlives the first. @throws ERR_NATIVE_<ERRNO> */
  duplicate(fd: number): number
}

/** System calls on namespaces; those that change something act on the calling thread. All throw ERR_NATIVE_<ERRNO>. */
export interface NamespaceCalls {
  /** Enters the namespace behind `fd`; `type` is a CLONE_NEW* or 0 for any. */
  setns(fd: number, type: number): void
  /** The CLONE_NEW* of the namespace behind `fd`; 0 when it is something else. */
  namespaceType(fd: number): number
  /** Leaves namespaces for fresh ones. */
  unshare(flags: number): void
  /** mount(2) without data. */
  mount(mount: {
    readonly source: string
    readonly target: string
    readonly type: string
    readonly flags: number
  }): void
  /** umount2(2). */
  unmount(target: string, flags: number): void
}

/** Everything that Weft asks of C. */
export interface Native {
  readonly sockets: SocketCalls
  readonly namespaces: NamespaceCalls
  /**
   * Calls `ready` each time the event loop finds `fd` readable, until the returned function stops it. It keeps the process
   * alive meanwhile. The caller must drain the socket or stop, else it is called again at once.
   */
  onReadable(fd: number, ready: () => void): () => void
}

/** Second names of EAGAIN and EOPNOTSUPP, which the kernel does not use. */
const errnoAliases: ReadonlySet<string> = new Set(['EWOULDBLOCK', 'ENOTSUP'])

/** asm-generic/errno numbers → names; `E<n>` for one that Node does not know. */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno))
    if (value === errno && !errnoAliases.has(name)) return name
  return `E${errno}`
}

/** MSG_DONTWAIT | MSG_TRUNC, include/linux/socket.h */
const receiveFlags = 0x40 | 0x20
/** SOCK_CLOEXEC, include/linux/net.h */
const SOCK_CLOEXEC = 0x80000
/** include/uapi/linux/fcntl.h */
const F_DUPFD_CLOEXEC = 1030
/** include/uapi/linux/nsfs.h */
const NS_GET_NSTYPE = 0xb703

// A cache, not state: the binding is the same for the whole process and making it again only costs time.
let cached: Native | undefined

/**
 * The binding to the C library.
 * @throws ERR_NATIVE_UNSUPPORTED when koffi's binary is not installed, or on a big-endian machine
 */
export function openNative(): Native {
  cached ??= bindNative(loadKoffi())
  return cached
}

function loadKoffi(): typeof Koffi {
  if (endianness() !== 'LE') throw new AppError('ERR_NATIVE_UNSUPPORTED', 'Weft needs a little-endian machine')
  try {
    return createRequire(import.meta.url)('koffi') as typeof Koffi // require() is untyped; koffi ships these types
  } catch (cause) {
    throw new AppError('ERR_NATIVE_UNSUPPORTED', 'koffi has no binary here: install without --omit=optional', { cause })
  }
}

function bindNative(koffi: typeof Koffi): Native {
  const libc = koffi.load(null)
  const fail = (call: string, hint = ''): never => {
    const name = errnoName(koffi.errno())
    const advice = name === 'EPERM' ? ': run as root, or inside `unshare -rn`' : ''
    throw new AppError(`ERR_NATIVE_${name}`, `${call} failed with ${name}${hint}${advice}`, {
      details: { errno: name },
    })
  }
  const onReadable = (fd: number, ready: () => void): (() => void) => {
    let open = true
    const handle = koffi.node.poll(fd, { readable: true }, () => {
      if (open) ready()
    })
    return () => {
      open = false
      handle.close()
    }
  }
  return { sockets: bindSockets(koffi, libc, fail), namespaces: bindNamespaces(libc, fail), onReadable }
}

type Fail = (call: string, hint?: string) => never

function bindSockets(koffi: typeof Koffi, libc: Koffi.LibraryHandle, fail: Fail): SocketCalls {
  const socket: (domain: number, type: number, protocol: number) => number = libc.func('int socket(int, int, int)')
  const bind: (fd: number, address: Uint8Array, length: number) => number = libc.func('int bind(int, void *, uint)')
  const setsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: number) => number = libc.func(
    'int setsockopt(int, int, int, void *, uint)',
  )
  const send = libc.func('long send(int, void *, size_t, int)') as Send // untyped by koffi
  const recv: (fd: number, bytes: Uint8Array, length: number, flags: number) => number = libc.func(
    'long recv(int, void *, size_t, int)',
  )
  const fcntl: (fd: number, command: number, type: 'int', least: number) => number =
    libc.func('int fcntl(int, int, ...)')
  return {
    duplicate: (fd) => {
      const copy = fcntl(fd, F_DUPFD_CLOEXEC, 'int', 3)
      return copy < 0 ? fail('fcntl') : copy
    },
    socket: (domain, type, protocol) => {
      const fd = socket(domain, type | SOCK_CLOEXEC, protocol)
      return fd < 0 ? fail('socket') : fd
    },
    bind: (fd, address) => {
      if (bind(fd, address, address.length) < 0) fail('bind')
    },
    setsockopt: (fd, { level, name }, value) =>
      setsockopt(fd, level, name, new Uint8Array(Int32Array.of(value).buffer), 4) < 0 ? -koffi.errno() : 0,
    send: (fd, bytes, length) => (send(fd, bytes, length, 0) < 0 ? -koffi.errno() : 0),
    sendElsewhere: (fd, bytes, length) => sendAsync(koffi, send, { fd, bytes, length }),
    receive: (fd, buffer) => {
      const length = recv(fd, buffer, buffer.length, receiveFlags)
      return length < 0 ? -koffi.errno() : length
    },
  }
}

/** koffi's function: callable here, and by `async` on a thread of Node's pool. */
interface Send {
  (fd: number, bytes: Uint8Array, length: number, flags: number): number
  readonly async: (
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    done: (error: Error | null, result: number) => void,
  ) => void
}

interface SendCall {
  readonly fd: number
  readonly bytes: Uint8Array
  readonly length: number
}

function sendAsync(koffi: typeof Koffi, send: Send, { fd, bytes, length }: SendCall): Promise<number> {
  return new Promise((resolve, reject) => {
    send.async(fd, bytes, length, 0, (error, result) => {
      // koffi restores the errno of the other thread's call before it calls back.
      const errno = koffi.errno()
      if (error === null) resolve(result < 0 ? -errno : 0)
      else reject(error)
    })
  })
}

function bindNamespaces(libc: Koffi.LibraryHandle, fail: Fail): NamespaceCalls {
  const setns: (fd: number, type: number) => number = libc.func('int setns(int, int)')
  const ioctl: (fd: number, request: number, argument: number) => number = libc.func('int ioctl(int, ulong, long)')
  const unshare: (flags: number) => number = libc.func('int unshare(int)')
  const mount: (source: string, target: string, type: string, flags: number, data: null) => number = libc.func(
    'int mount(const char *, const char *, const char *, ulong, void *)',
  )
  const umount2: (target: string, flags: number) => number = libc.func('int umount2(const char *, int)')
  return {
    setns: (fd, type) => {
      if (setns(fd, type) < 0) fail('setns')
    },
    namespaceType: (fd) => Math.max(0, ioctl(fd, NS_GET_NSTYPE, 0)),
    unshare: (flags) => {
      if (unshare(flags) < 0) fail('unshare')
    },
    mount: ({ source, target, type, flags }) => {
      if (mount(source, target, type, flags, null) < 0) fail('mount', ` for ${target}`)
    },
    unmount: (target, flags) => {
      if (umount2(target, flags) < 0) fail('umount', ` for ${target}`)
    },
  }
}
