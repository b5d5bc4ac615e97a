import { createSocket, type Socket } from 'node:dgram'
import { closeSync } from 'node:fs'
import { type IpFamily } from '../../core/base/ip.ts'
import { type NetnsTarget } from '../netlink/namespace.ts'
import { openNative } from '../netlink/native.ts'
import { insideNetns } from '../netns.ts'

/** How a probe's packets leave. */
export interface ProbeSocketOptions {
  readonly family: IpFamily
  /** 0: any free one. */
  readonly port: number
  /**
   * `none`: UDP over IPv4 without checksum, which no device can spoil. With one, the kernel leaves it to the device that
   * offers to compute it: that is what a probe of offloading needs.
   */
  readonly checksum: 'yes' | 'none'
  /** Path or open descriptor of a network namespace; the thread's own when absent. */
  readonly netns?: NetnsTarget
}

const SOCK_DGRAM = 2
/** include/linux/socket.h */
const familyNumber = { 4: 2, 6: 10 } as const
/** IPPROTO_IP with IP_MTU_DISCOVER, IPPROTO_IPV6 with IPV6_MTU_DISCOVER: include/uapi/linux/in.h, in6.h */
const mtuDiscover = { 4: { level: 0, name: 10 }, 6: { level: 41, name: 23 } } as const
/** IP_PMTUDISC_PROBE, IPV6_PMTUDISC_PROBE: never fragment, and don't believe the path MTU that was learned. */
const PMTUDISC_PROBE = 3
/** IPPROTO_IPV6, IPV6_V6ONLY: IPv4 has a socket of its own */
const only6 = { level: 41, name: 26 } as const
/** SOL_SOCKET, SO_NO_CHECK: include/uapi/asm-generic/socket.h */
const noCheck = { level: 1, name: 11 } as const

/**
 * A UDP socket for all addresses of its IP version in a network namespace. Node's own sockets can't forbid fragments, so the socket is
 * made here and handed to Node.
 * @throws ERR_NATIVE_EADDRINUSE when the port is taken, ERR_NATIVE_<ERRNO>
 */
export function openProbeSocket({ family, port, checksum, netns }: ProbeSocketOptions): Socket {
  const { sockets } = openNative()
  const create = () => sockets.socket(familyNumber[family], SOCK_DGRAM, 0)
  const fd = netns === undefined ? create() : insideNetns(netns, create)
  sockets.setsockopt(fd, mtuDiscover[family], PMTUDISC_PROBE)
  if (family === 6) sockets.setsockopt(fd, only6, 1)
  if (checksum === 'none') sockets.setsockopt(fd, noCheck, 1)
  const address = Buffer.alloc(family === 4 ? 16 : 28) // struct sockaddr_in, sockaddr_in6; all zero: any address
  address.writeUInt16LE(familyNumber[family], 0)
  address.writeUInt16BE(port, 2)
  try {
    sockets.bind(fd, address)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6')
  socket.bind({ fd, exclusive: true }) // from now on Node closes it
  return socket
}
