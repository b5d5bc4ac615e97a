import { type Socket } from 'node:dgram'
import { type Clock } from '../../core/base/clock.ts'
import { type IpFamily, ipFamily } from '../../core/base/ip.ts'
import { type NetnsTarget } from '../netlink/namespace.ts'
import { type Asker, openAsker } from './asker.ts'
import { type Askers } from './measure.ts'
import { probePort } from './message.ts'
import { openResponder } from './responder.ts'
import { openProbeSocket } from './socket.ts'

/** Where and how to open. */
export interface ProbeGroundOptions {
  /** IP version of the underlay. VTEPs are asked over IPv4. */
  readonly underlay: IpFamily
  /** True for the underlay and VTEP addresses of the cluster's nodes; nobody else gets an answer. */
  readonly isPeer: (address: string) => boolean
  readonly clock: Clock
  /** Path or open descriptor of a network namespace; the thread's own when absent. */
  readonly netns?: NetnsTarget
}

/** The sockets of a node: what answers, and what asks. */
export interface ProbeGround {
  readonly askers: Askers
  close(): void
}

/** Answers from now on. @throws ERR_NATIVE_EADDRINUSE when another process has the port */
export function openProbeGround({ underlay, isPeer, clock, netns }: ProbeGroundOptions): ProbeGround {
  const families: readonly IpFamily[] = underlay === 6 ? [4, 6] : [4]
  const opened: Socket[] = []
  const open = (family: IpFamily, port: number, checksum: 'yes' | 'none') => {
    const socket = openProbeSocket({ family, port, checksum, ...(netns === undefined ? {} : { netns }) })
    opened.push(socket)
    return socket
  }
  const asker = (checksum: 'yes' | 'none'): Asker => {
    const byFamily = new Map<IpFamily, Asker>()
    for (const family of families) byFamily.set(family, openAsker(open(family, 0, checksum), clock))
    return {
      ask: async (address, octets, how) =>
        (await byFamily.get(ipFamily(address))?.ask(address, octets, how)) ?? 'silence',
    }
  }
  try {
    for (const family of families) openResponder({ socket: open(family, probePort, 'none'), isPeer, clock })
    const askers = { checksum: asker('yes'), noChecksum: asker('none') }
    return { askers, close: () => closeAll(opened) }
  } catch (error) {
    closeAll(opened)
    throw error
  }
}

function closeAll(sockets: readonly Socket[]): void {
  for (const socket of sockets) socket.close()
}
