import { setImmediate as turn } from 'node:timers/promises'
import { type AppError } from '../../core/base/errors.ts'
import { type AttrsOf } from '../../networking/netlink/attr.ts'
import { type GenericSocket, genericRequest, openGenericSocket } from '../../networking/netlink/genl.ts'
import { type NetnsTarget } from '../../networking/netlink/namespace.ts'
import { formatServiceId } from './format.ts'
import {
  ipvsAttrs,
  ipvsCommand,
  ipvsFamilyName,
  type IpvsRequest,
  ipvsRequest,
  serviceIdAttrs,
  toIpvsDestination,
  toIpvsService,
} from './messages.ts'
import { type IpvsEntry, type IpvsOp, type IpvsService, type IpvsTable, type IpvsTimeouts } from './ops.ts'

/** What a kernel without IPVS answers is ERR_NETLINK_FAMILY. @throws that; ERR_NETNS_NOT_FOUND, ERR_NATIVE_<ERRNO> */
export function openIpvsTable({ netns }: { readonly netns?: NetnsTarget } = {}): IpvsTable {
  const socket = openGenericSocket(netns === undefined ? {} : { netns })
  try {
    const family = socket.family(ipvsFamilyName)
    return {
      read: () => readTable(socket, family),
      perform: async (ops, { signal }) => perform(socket, { family, ops, signal }),
      timeouts: () => readTimeouts(socket, family),
      setTimeouts: (timeouts) => writeTimeouts(socket, family, timeouts),
      close: () => socket.close(),
    }
  } catch (error) {
    socket.close()
    throw error
  }
}

type Family = IpvsRequest['family']

function simple(family: Family, command: number, attrs: AttrsOf<typeof ipvsAttrs> = {}): IpvsRequest {
  return { family, command, table: ipvsAttrs, attrs, describe: () => `IPVS command ${command}` }
}

function readTable(socket: GenericSocket, family: Family): ReturnType<IpvsTable['read']> {
  const entries: IpvsEntry[] = []
  const others: string[] = []
  for (const { service: attrs } of socket.dump(simple(family, ipvsCommand.getService))) {
    const service = attrs === undefined ? undefined : toIpvsService(attrs)
    if (service !== undefined) entries.push({ service, destinations: readDestinations(socket, family, service) })
    else others.push(`service by mark ${attrs?.fwmark ?? 0} or of protocol ${attrs?.protocol ?? 0}`)
  }
  return { entries, others }
}

/** The kernel tells the destinations of one service at a time. */
function readDestinations(socket: GenericSocket, family: Family, service: IpvsService): IpvsEntry['destinations'] {
  const request = {
    ...simple(family, ipvsCommand.getDestination, { service: serviceIdAttrs(service) }),
    describe: () => `ipvsadm -Ln ${formatServiceId(service)}`,
  }
  return socket.dump(request).flatMap(({ destination }) => {
    return destination === undefined ? [] : [toIpvsDestination(destination)]
  })
}

/** A turn of the event loop after each batch that was sent, so that a large change does not keep DNS from answering. */
async function perform(
  { transport }: GenericSocket,
  { family, ops, signal }: { readonly family: Family; readonly ops: readonly IpvsOp[]; readonly signal: AbortSignal },
): Promise<void> {
  const errors: AppError[] = []
  let batch = transport.batch((_, error) => errors.push(error))
  for (const [i, op] of ops.entries()) {
    if (batch.add(genericRequest(ipvsRequest(family, op)), i) === 'queued') continue
    await turn()
    signal.throwIfAborted()
    batch = transport.batch((_, error) => errors.push(error))
  }
  batch.flush()
  if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '))
}

function readTimeouts(socket: GenericSocket, family: Family): IpvsTimeouts {
  const [found = {}] = socket.request(simple(family, ipvsCommand.getConfig))
  return {
    tcpSeconds: found.timeoutTcpSeconds ?? 0,
    tcpFinSeconds: found.timeoutTcpFinSeconds ?? 0,
    udpSeconds: found.timeoutUdpSeconds ?? 0,
  }
}

function writeTimeouts(socket: GenericSocket, family: Family, timeouts: IpvsTimeouts): void {
  const attrs = {
    timeoutTcpSeconds: timeouts.tcpSeconds,
    timeoutTcpFinSeconds: timeouts.tcpFinSeconds,
    timeoutUdpSeconds: timeouts.udpSeconds,
  }
  socket.request(simple(family, ipvsCommand.setConfig, attrs))
}
