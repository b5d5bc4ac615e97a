/**
 * Removes links without keeping the thread. Taking a veth pair away costs the kernel some 20 ms of waiting (RCU grace
 * periods), however many go at once: so names that come while removals are under way go together in the next, as one link
 * group (IFLA_GROUP), and the request is sent from another thread. Whoever asked is told as soon as the link is gone for
 * all to see, which is at the beginning of that wait; the thread waits on, for the kernel to free what the link had.
 *
 * Rejected: answering before the link is gone (down, renamed, removal noted on disk): whoever then looks finds links that
 * should be gone, and a namespace that still has its interface. Moving it to a namespace of the daemon's that holds what
 * is to be removed: that waits as long (rcu_barrier), and holds the lock of all links meanwhile. A worker thread of our
 * own: a second event loop and its memory for one system call.
 */
import { AppError } from '../../core/base/errors.ts'
import { kernelError } from './errors.ts'
import { type GoneWatch, openGoneWatch } from './link-gone.ts'
import { linkDelRequest, linkGroupDelRequest, linkSetRequest } from './link.ts'
import {
  decodeAcknowledgement,
  eachMessage,
  type NetlinkRequest,
  NLM_F_ACK,
  NLMSG_ERROR,
  writeMessage,
} from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { errnoName } from './native.ts'
import { NETLINK_ROUTE, type NetlinkPort, openPort, receiveDatagram } from './port.ts'

/** Removes links of one namespace by name. */
export interface LinkRemover {
  /** Resolves when all are gone; those that are not there are gone already. @throws ERR_NETLINK_<ERRNO> of the first */
  remove(names: readonly string[]): Promise<void>
  /** After the removals under way. */
  close(): void
}

/** Removals at once: their waits overlap. Each takes one of the four threads of Node's pool: one is left for files. */
const laneCount = 3
/** Links in this group, and in that of the next lane, are about to go; "weft". A link that a crash left in it goes with the next removal. */
const doomedGroup = 0x77656674
/** More than wait at once on any node, and within the buffers. */
const largestRound = 256

interface Waiting {
  readonly names: readonly string[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** A socket and a group of its own: what one removal at a time uses. */
interface Lane {
  readonly port: NetlinkPort
  readonly group: number
}

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openLinkRemover({ netns }: { readonly netns?: NetnsTarget } = {}): LinkRemover {
  const idle = Array.from({ length: laneCount }, (_, i): Lane => {
    return { port: openPort({ protocol: NETLINK_ROUTE, netns }), group: doomedGroup + i }
  })
  const watch = openGoneWatch({ netns })
  let queue: Waiting[] = []
  let state: 'open' | 'closed' = 'open'
  const run = async (lane: Lane) => {
    await undefined // what comes in this turn goes together
    while (queue.length > 0) {
      const round = queue.slice(0, largestRound)
      queue = queue.slice(largestRound)
      await perform(lane, round, watch)
    }
    idle.push(lane)
    if (state === 'closed' && idle.length === laneCount) end()
  }
  const end = () => {
    for (const { port } of idle) port.close()
    watch.close()
  }
  return {
    remove: (names) => {
      if (state === 'closed') return Promise.reject(new AppError('ERR_NETLINK_CLOSED', 'this link remover is closed'))
      const done = new Promise<void>((resolve, reject) => queue.push({ names, resolve, reject }))
      const lane = idle.pop()
      if (lane !== undefined) void run(lane)
      return done
    },
    close: () => {
      if (state === 'open' && idle.length === laneCount) end()
      state = 'closed'
    },
  }
}

async function perform(lane: Lane, round: readonly Waiting[], watch: GoneWatch): Promise<void> {
  const names = [...new Set(round.flatMap((waiting) => waiting.names))]
  const gone = new Set<string>()
  const stop = watch.expect(names, (name) => {
    gone.add(name)
    for (const waiting of round) {
      if (waiting.names.includes(name) && waiting.names.every((one) => gone.has(one))) waiting.resolve()
    }
  })
  const failed = await removeGroup(lane, names).catch((error: unknown) => new Map(names.map((name) => [name, error])))
  watch.read()
  stop()
  for (const waiting of round) {
    const name = waiting.names.find((one) => failed.has(one))
    if (name === undefined) waiting.resolve()
    else waiting.reject(failed.get(name))
  }
}

/** @returns what could not be removed, and why */
async function removeGroup({ port, group }: Lane, names: readonly string[]): Promise<ReadonlyMap<string, unknown>> {
  if (names.length === 1) return removeEach(port, names)
  const marks = names.map((name) => linkSetRequest(name, 0, { group }))
  const errors = await send(port, [...marks, linkGroupDelRequest(group)])
  // A link that can't be removed keeps its whole group: then each for itself.
  if (errors.size > 0) return removeEach(port, names)
  return new Map()
}

async function removeEach(port: NetlinkPort, names: readonly string[]): Promise<ReadonlyMap<string, unknown>> {
  const errors = await send(port, names.map(linkDelRequest))
  return new Map([...errors].map(([position, error]) => [names[position] ?? '', error]))
}

/** Sends all at once from another thread. @returns errors by position; "no such link" is none */
async function send(port: NetlinkPort, requests: readonly NetlinkRequest[]): Promise<ReadonlyMap<number, AppError>> {
  const { writer, native } = port
  writer.length = 0
  let first = 0
  for (const [position, request] of requests.entries()) {
    const start = writer.length
    writeMessage(writer, { ...request, flags: request.flags | NLM_F_ACK }, port.nextSequence)
    if (position === 0) first = writer.buffer.readUInt32LE(start + 8) // nlmsghdr.nlmsg_seq
  }
  const result = await native.sockets.sendElsewhere(port.fd, writer.buffer, writer.length)
  if (result < 0) throw kernelError({ errno: -result }, 'remove links')
  return receiveErrors(port, requests, first)
}

/** The kernel has queued every answer when the sending call returns. */
function receiveErrors(
  port: NetlinkPort,
  requests: readonly NetlinkRequest[],
  first: number,
): ReadonlyMap<number, AppError> {
  const errors = new Map<number, AppError>()
  for (let length = receiveDatagram(port); typeof length === 'number'; length = receiveDatagram(port)) {
    eachMessage(port.receiveBuffer, length, (message) => {
      const position = (message.sequence - first) >>> 0
      const request = requests[position]
      if (message.type !== NLMSG_ERROR || request === undefined) return
      const ack = decodeAcknowledgement(message)
      if (ack.errno === 0 || errnoName(ack.errno) === 'ENODEV') return
      errors.set(position, kernelError(ack, request.describe()))
    })
  }
  return errors
}
