import { eachAttr } from './attr.ts'
import { text } from './codec.ts'
import { kernelError } from './errors.ts'
import { RTM_DELLINK } from './link.ts'
import { eachMessage, type Message } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_ROUTE, openPort, receiveDatagram } from './port.ts'

/**
 * Tells when links are gone: the kernel says so (RTM_DELLINK to RTNLGRP_LINK) as soon as neither namespace has the link,
 * its addresses and routes any more, while whoever asked for the removal waits some 20 ms longer until its memory is free.
 * Source: net/core/dev.c, unregister_netdevice_many_notify and netdev_run_todo.
 */
export interface GoneWatch {
  /** Calls `gone` for each of these names that goes, until the returned function is called. */
  expect(names: readonly string[], gone: (name: string) => void): () => void
  /** Reads what was said so far, without waiting for the event loop. */
  read(): void
  close(): void
}

/** RTNLGRP_LINK, include/uapi/linux/rtnetlink.h */
const RTNLGRP_LINK = 1
/** Options of SOL_NETLINK, include/uapi/linux/netlink.h */
const SOL_NETLINK = 270
const NETLINK_ADD_MEMBERSHIP = 1
const NETLINK_DROP_MEMBERSHIP = 2
/** include/uapi/linux/if_link.h */
const IFLA_IFNAME = 3
const AF_UNSPEC = 0
const ifinfomsgBytes = 16
/** More than the buffer holds. */
const maxQueued = 1 << 16

interface Expectation {
  readonly names: ReadonlySet<string>
  readonly gone: (name: string) => void
}

/**
 * It belongs to the group only while something is expected: every change of every link is told there. What the kernel
 * could not tell (ENOBUFS) is not told here either. @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO>
 */
export function openGoneWatch({ netns }: { readonly netns?: NetnsTarget | undefined } = {}): GoneWatch {
  const port = openPort({ protocol: NETLINK_ROUTE, netns })
  const expected = new Set<Expectation>()
  let stopReading: (() => void) | undefined
  const member = (name: number) => {
    const result = port.native.sockets.setsockopt(port.fd, { level: SOL_NETLINK, name }, RTNLGRP_LINK)
    if (result < 0) throw kernelError({ errno: -result }, 'listen for removed links')
  }
  const tell = (message: Message) => {
    const name = removedLink(message)
    if (name === undefined) return
    for (const { names, gone } of expected) if (names.has(name)) gone(name)
  }
  const read = () => {
    for (let i = 0; i < maxQueued; i++) {
      const length = receiveDatagram(port)
      if (length === 'empty') return
      if (length !== 'overflow') eachMessage(port.receiveBuffer, length, tell)
    }
  }
  const leave = () => {
    stopReading?.()
    stopReading = undefined
    member(NETLINK_DROP_MEMBERSHIP)
    read() // what is said of a name now must not be taken for its next removal
  }
  return {
    read,
    expect: (names, gone) => {
      const expectation = { names: new Set(names), gone }
      if (expected.size === 0) {
        member(NETLINK_ADD_MEMBERSHIP)
        stopReading = port.native.onReadable(port.fd, read)
      }
      expected.add(expectation)
      return () => {
        if (expected.delete(expectation) && expected.size === 0) leave()
      }
    },
    close: () => {
      stopReading?.()
      port.close()
    },
  }
}

/** Its name, when the message says that a link is gone. A bridge's own messages of its ports say something else. */
function removedLink({ type, buffer, start, end }: Message): string | undefined {
  if (type !== RTM_DELLINK || buffer[start] !== AF_UNSPEC) return undefined
  let name: string | undefined
  eachAttr(buffer, { start: start + ifinfomsgBytes, end }, (attr, from, to) => {
    if (attr === IFLA_IFNAME) name = text.get(buffer, from, to)
  })
  return name
}
