/** Netlink messages: `struct nlmsghdr` and what stands behind it. Source: include/uapi/linux/netlink.h. */
import { type AttrsOf, attrTable, type AttrTable, decodeAttrs, writeAttrs } from './attr.ts'
import { type Codec, malformed, text, u32 } from './codec.ts'
import { type Writer } from './writer.ts'

/** Message types below the families'. */
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

/** Flags of every request and reply. */
export const NLM_F_REQUEST = 0x01
export const NLM_F_ACK = 0x04
export const NLM_F_DUMP_INTR = 0x10
/** Flags of a request that reads. NLM_F_DUMP is ROOT | MATCH. */
export const NLM_F_DUMP = 0x300
/** Flags of a request that makes something. */
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
/** Flags of an acknowledgement: only the request's header is returned; attributes with the reason follow. */
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200

const headerBytes = 16

/** A received message. Its body is `[start, end)` of `buffer`, which is used again: decode before the next receive. */
export interface Message {
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** Port of the socket that caused it; 0: the kernel. */
  readonly port: number
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
}

/** A request before it has a sequence number. */
export interface NetlinkRequest {
  readonly type: number
  /** Beside NLM_F_REQUEST, which is always set. */
  readonly flags: number
  /** Appends the body. */
  readonly write: (writer: Writer) => void
  /** The request as an operator would type it, for errors. */
  readonly describe: () => string
}

/** Appends a whole message. A sequence number is taken only when the body could be written. */
export function writeMessage(writer: Writer, request: NetlinkRequest, nextSequence: () => number): void {
  const start = writer.reserve(headerBytes)
  request.write(writer)
  const { buffer, length } = writer
  const flags = request.flags | NLM_F_REQUEST
  put32(buffer, start, length - start)
  put32(buffer, start + 4, request.type | (flags << 16))
  put32(buffer, start + 8, nextSequence())
  put32(buffer, start + 12, 0)
  if ((length & 3) !== 0) writer.align()
}

/** Without the checks of Buffer's own methods, which cost more than all else here; the values are ours. */
function put32(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value
  buffer[at + 1] = value >>> 8
  buffer[at + 2] = value >>> 16
  buffer[at + 3] = value >>> 24
}

/** Asks for an acknowledgement of the message that starts at `start`. */
export function requestAck(writer: Writer, start: number): void {
  writer.buffer.writeUInt16LE(writer.buffer.readUInt16LE(start + 6) | NLM_F_ACK, start + 6)
}

/**
 * Visits the messages of a datagram of `length` octets.
 * @throws ERR_NETLINK_MALFORMED with the octet where a length leads outside
 */
export function eachMessage(buffer: Buffer, length: number, visit: (message: Message) => void): void {
  let at = 0
  while (at < length) {
    if (length - at < headerBytes) malformed(at, `${length - at} octets left where a message needs ${headerBytes}`)
    const size = buffer.readUInt32LE(at)
    if (size < headerBytes || at + size > length)
      malformed(at, `message length ${size}, with ${length - at} octets left`)
    visit({
      type: buffer.readUInt16LE(at + 4),
      flags: buffer.readUInt16LE(at + 6),
      sequence: buffer.readUInt32LE(at + 8),
      port: buffer.readUInt32LE(at + 12),
      buffer,
      start: at + headerBytes,
      end: at + size,
    })
    at += (size + 3) & ~3
  }
}

/** NLMSGERR_ATTR_* */
const extendedAckAttrs = attrTable({
  message: [1, text],
  offset: [2, u32],
  missingType: [5, u32],
  missingNest: [6, u32],
})

/** What the kernel says of a request, or at the end of a dump. `errno` 0: it is done. */
export interface Acknowledgement extends AttrsOf<typeof extendedAckAttrs> {
  readonly errno: number
}

/** Reads NLMSG_ERROR or NLMSG_DONE with its extended part. @throws ERR_NETLINK_MALFORMED */
export function decodeAcknowledgement({ type, flags, buffer, start, end }: Message): Acknowledgement {
  if (end - start < 4) malformed(start, 'an acknowledgement without its code')
  const errno = -buffer.readInt32LE(start)
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno }
  let at = start + 4
  if (type === NLMSG_ERROR) {
    if (end - at < headerBytes) malformed(at, 'an acknowledgement without the header of its request')
    const original = (flags & NLM_F_CAPPED) === 0 ? buffer.readUInt32LE(at) : headerBytes
    if (original < headerBytes || original > end - at) malformed(at, `a returned request of ${original} octets`)
    at += (original + 3) & ~3
  }
  return { errno, ...decodeAttrs(extendedAckAttrs, buffer, { start: at, end }) }
}

/** A family's fixed header and its attributes. */
export interface Shape<Header, Table extends AttrTable> {
  readonly header: Codec<Header> & { readonly size: number }
  readonly attrs: Table
}

/** Appends a body. */
export function writeBody<Header, Table extends AttrTable>(
  writer: Writer,
  shape: Shape<Header, Table>,
  body: { readonly header: Header; readonly attrs: AttrsOf<Table> },
): void {
  shape.header.write(writer, body.header)
  writeAttrs(writer, shape.attrs, body.attrs)
}

/** Reads a body. @throws ERR_NETLINK_MALFORMED */
export function decodeBody<Header, Table extends AttrTable>(
  shape: Shape<Header, Table>,
  { buffer, start, end }: Pick<Message, 'buffer' | 'start' | 'end'>,
): { readonly header: Required<Header>; readonly attrs: AttrsOf<Table> } {
  const header = shape.header.get(buffer, start, end) as Required<Header> // struct codecs read every field
  return { header, attrs: decodeAttrs(shape.attrs, buffer, { start: start + shape.header.size, end }) }
}
