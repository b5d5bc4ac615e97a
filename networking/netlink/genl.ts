/** Generic netlink. Source: include/uapi/linux/genetlink.h; Documentation/userspace-api/netlink/intro-specs.rst. */
import { AppError } from '../../core/base/errors.ts'
import { type AttrsOf, attrTable, type AttrTable, nestedList, writeAttrs } from './attr.ts'
import { text, u16, u32, u8 } from './codec.ts'
import { isErrno } from './errors.ts'
import { decodeBody, type Message, type NetlinkRequest } from './message.ts'
import { type NetnsTarget } from './namespace.ts'
import { NETLINK_GENERIC } from './port.ts'
import { type NetlinkSocket, openNetlinkSocket } from './socket.ts'
import { struct } from './struct.ts'

/** `struct genlmsghdr` */
const genlmsghdr = struct(4, { command: [0, u8], version: [1, u8] })

/** CTRL_ATTR_MCAST_GRP_* */
const groupAttrs = attrTable({ name: [1, text], id: [2, u32] })

/** CTRL_ATTR_* */
export const familyAttrs = attrTable({
  id: [1, u16],
  name: [2, text],
  version: [3, u32],
  headerBytes: [4, u32],
  maxAttr: [5, u32],
  groups: [7, nestedList(groupAttrs)],
})

/** The controller's own family, GENL_ID_CTRL, and its command CTRL_CMD_GETFAMILY. */
const controller = { id: 0x10, version: 1, getFamily: 3 } as const

/** A family that the kernel has. */
export interface GenericFamily {
  readonly id: number
  readonly name: string
  readonly version: number
  /** Octets of its own header behind genlmsghdr. */
  readonly headerBytes: number
  /** Multicast group ids by name. */
  readonly groups: Readonly<Record<string, number>>
}

/** A request to a family: which command, and its attributes. */
export interface GenericRequest<Table extends AttrTable> {
  readonly family: Pick<GenericFamily, 'id' | 'version'>
  readonly command: number
  /** NLM_F_* beside those of every request. */
  readonly flags?: number
  readonly table: Table
  readonly attrs: AttrsOf<Table>
  /** As an operator would type it, for errors. */
  readonly describe: () => string
}

/** The netlink request of a generic one; also for {@link NetlinkSocket.batch}. */
export function genericRequest<Table extends AttrTable>(request: GenericRequest<Table>): NetlinkRequest {
  const { family, command, table, attrs, describe } = request
  return {
    type: family.id,
    flags: request.flags ?? 0,
    write: (writer) => {
      genlmsghdr.write(writer, { command, version: family.version })
      writeAttrs(writer, table, attrs)
    },
    describe,
  }
}

/** A socket of generic netlink. */
export interface GenericSocket {
  /** @throws ERR_NETLINK_FAMILY when the kernel has no such family, or its module is not loaded */
  family(name: string): GenericFamily
  families(): readonly GenericFamily[]
  /** Sends one request. @returns the attributes of its replies */
  request<Table extends AttrTable>(request: GenericRequest<Table>): readonly AttrsOf<Table>[]
  /** As {@link request}, for all objects. */
  dump<Table extends AttrTable>(request: GenericRequest<Table>): readonly AttrsOf<Table>[]
  /** The transport, for batches. */
  readonly transport: NetlinkSocket
  close(): void
}

/** @throws ERR_NETNS_NOT_FOUND, ERR_NETNS_INVALID, ERR_NATIVE_<ERRNO> */
export function openGenericSocket({ netns }: { readonly netns?: NetnsTarget } = {}): GenericSocket {
  const transport = openNetlinkSocket({ protocol: NETLINK_GENERIC, netns })
  return {
    transport,
    family: (name) => readFamily(transport, name),
    families: () => dump(transport, familyRequest()).map(toFamily),
    request: (request) => {
      const replies: AttrsOf<typeof request.table>[] = []
      transport.request(genericRequest(request), (message) => replies.push(decodeReply(request.table, message)))
      return replies
    },
    dump: (request) => dump(transport, request),
    close: () => transport.close(),
  }
}

function dump<Table extends AttrTable>(
  transport: NetlinkSocket,
  request: GenericRequest<Table>,
): readonly AttrsOf<Table>[] {
  let replies: AttrsOf<Table>[] = []
  transport.dump(genericRequest(request), {
    restart: () => {
      replies = []
    },
    visit: (message) => replies.push(decodeReply(request.table, message)),
  })
  return replies
}

function decodeReply<Table extends AttrTable>(table: Table, message: Message): AttrsOf<Table> {
  return decodeBody({ header: genlmsghdr, attrs: table }, message).attrs
}

function readFamily(transport: NetlinkSocket, name: string): GenericFamily {
  let family: GenericFamily | undefined
  try {
    transport.request(genericRequest(familyRequest(name)), (message) => {
      family = toFamily(decodeReply(familyAttrs, message))
    })
  } catch (cause) {
    if (!isErrno(cause, 'ENOENT')) throw cause
    throw new AppError('ERR_NETLINK_FAMILY', `this kernel has no netlink family "${name}": load its module`, { cause })
  }
  if (family === undefined) throw new AppError('ERR_NETLINK_FAMILY', `the kernel told nothing of family "${name}"`)
  return family
}

function familyRequest(name?: string): GenericRequest<typeof familyAttrs> {
  return {
    family: controller,
    command: controller.getFamily,
    table: familyAttrs,
    attrs: { name },
    describe: () => (name === undefined ? 'genl ctrl list' : `genl ctrl get name ${name}`),
  }
}

function toFamily(attrs: AttrsOf<typeof familyAttrs>): GenericFamily {
  return {
    id: attrs.id ?? 0,
    name: attrs.name ?? '',
    version: attrs.version ?? 0,
    headerBytes: attrs.headerBytes ?? 0,
    groups: Object.fromEntries((attrs.groups ?? []).map(({ name = '', id = 0 }) => [name, id])),
  }
}
