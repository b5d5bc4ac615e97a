import { AppError } from '../../core/base/errors.ts'
import { headerBytes, metaType } from './constants.ts'
import { type Edns, ednsBytes, ednsOfOpt, putEdns } from './edns.ts'
import { type Name, rootName } from './name.ts'
import { decodeRdata, encodeRdata, type Rdata, rdataCode } from './rdata.ts'
import {
  cutWriter,
  getBytes,
  getName,
  getU16,
  getU32,
  patchU16,
  putName,
  putU16,
  putU32,
  type WireReader,
  wireReader,
  type WireWriter,
  wireWriter,
  writtenBytes,
} from './wire.ts'

/** What is asked. */
export interface Question {
  readonly name: Name
  readonly type: number
  readonly class: number
}

/** One resource record. */
export interface ResourceRecord {
  readonly name: Name
  readonly class: number
  readonly ttlSeconds: number
  readonly data: Rdata
}

/** Header of a message (RFC 1035 §4.1.1, RFC 4035 §3) with the whole, 12-bit response code (RFC 6891 §6.1.3). */
export interface MessageHeader {
  readonly id: number
  readonly response: boolean
  readonly opcode: number
  readonly authoritative: boolean
  readonly truncated: boolean
  readonly recursionDesired: boolean
  readonly recursionAvailable: boolean
  readonly authenticData: boolean
  readonly checkingDisabled: boolean
  readonly rcode: number
}

/** A DNS message; its OPT record is `edns`, not part of `additionals`. */
export interface Message extends MessageHeader {
  readonly questions: readonly Question[]
  readonly answers: readonly ResourceRecord[]
  readonly authorities: readonly ResourceRecord[]
  readonly additionals: readonly ResourceRecord[]
  readonly edns?: Edns
}

/** Header bits, RFC 1035 §4.1.1 and RFC 4035 §3.1.6. */
const bit = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100, RA: 0x0080, AD: 0x0020, CD: 0x0010 } as const

/** Reads a header. @throws ERR_DNS_FORMAT when there are less than 12 octets */
export function decodeHeader(bytes: Uint8Array): MessageHeader {
  const reader = wireReader(bytes)
  if (bytes.length < headerBytes) {
    throw new AppError('ERR_DNS_FORMAT', `a message has at least 12 octets, not ${bytes.length}`)
  }
  const id = getU16(reader)
  const flags = getU16(reader)
  return {
    id,
    response: (flags & bit.QR) !== 0,
    opcode: (flags >> 11) & 0xf,
    authoritative: (flags & bit.AA) !== 0,
    truncated: (flags & bit.TC) !== 0,
    recursionDesired: (flags & bit.RD) !== 0,
    recursionAvailable: (flags & bit.RA) !== 0,
    authenticData: (flags & bit.AD) !== 0,
    checkingDisabled: (flags & bit.CD) !== 0,
    rcode: flags & 0xf,
  }
}

/**
 * Reads a message to its last octet.
 * @throws ERR_DNS_FORMAT for anything malformed, two OPT records, an OPT that is not the root's, or octets left over
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const header = decodeHeader(bytes)
  const reader = wireReader(bytes)
  reader.at = 4
  const [questionCount, answerCount, authorityCount, additionalCount] = [1, 2, 3, 4].map(() => getU16(reader))
  const questions = many(questionCount, () => decodeQuestion(reader))
  const answers = many(answerCount, () => decodeRecord(reader))
  const authorities = many(authorityCount, () => decodeRecord(reader))
  const extras = many(additionalCount, () => decodeRecord(reader))
  if (reader.at !== bytes.length) throw malformed('octets are left over', reader.at)
  if ([...answers, ...authorities].some(isOpt)) throw malformed('an OPT record is out of its place', 0)
  const [opt, second] = extras.filter(isOpt)
  if (second !== undefined) throw malformed('there are two OPT records', 0)
  const message = { ...header, questions, answers, authorities, additionals: extras.filter((record) => !isOpt(record)) }
  if (opt === undefined) return message
  if (opt.name !== rootName) throw malformed('the OPT record is not at the root', 0)
  const { edns, rcodeHigh } = ednsOfOpt(opt)
  return { ...message, rcode: (rcodeHigh << 4) | header.rcode, edns }
}

/**
 * Octets of a message, at most `limitBytes` of them. What does not fit is left out: additional RRsets first and
 * silently (RFC 2181 §9), then answers from the back with TC set. Header, questions and OPT always stay.
 */
export function encodeMessage(message: Message, { limitBytes }: { readonly limitBytes: number }): Uint8Array {
  const writer = wireWriter()
  putHeader(writer, message)
  for (const question of message.questions) putQuestion(writer, question)
  const { edns } = message
  const roomBytes = limitBytes - (edns === undefined ? 0 : ednsBytes(edns))
  const answers = putRecords(writer, message.answers, { roomBytes, whole: 'records' })
  const authorities =
    answers === message.answers.length ? putRecords(writer, message.authorities, { roomBytes, whole: 'records' }) : 0
  const truncated = answers + authorities < message.answers.length + message.authorities.length
  const additionals = truncated ? 0 : putRecords(writer, message.additionals, { roomBytes, whole: 'RRsets' })
  if (truncated) patchU16(writer, 2, headerFlags({ ...message, truncated }))
  patchU16(writer, 6, answers)
  patchU16(writer, 8, authorities)
  patchU16(writer, 10, additionals + (edns === undefined ? 0 : 1))
  if (edns !== undefined) putEdns(writer, edns, message.rcode >> 4)
  return writtenBytes(writer)
}

function putHeader(writer: WireWriter, message: Message): void {
  putU16(writer, message.id)
  putU16(writer, headerFlags(message))
  putU16(writer, message.questions.length)
  for (let i = 0; i < 3; i++) putU16(writer, 0)
}

function headerFlags(header: MessageHeader): number {
  return (
    (header.response ? bit.QR : 0) |
    ((header.opcode & 0xf) << 11) |
    (header.authoritative ? bit.AA : 0) |
    (header.truncated ? bit.TC : 0) |
    (header.recursionDesired ? bit.RD : 0) |
    (header.recursionAvailable ? bit.RA : 0) |
    (header.authenticData ? bit.AD : 0) |
    (header.checkingDisabled ? bit.CD : 0) |
    (header.rcode & 0xf)
  )
}

function putQuestion(writer: WireWriter, question: Question): void {
  putName(writer, question.name, 'compress')
  putU16(writer, question.type)
  putU16(writer, question.class)
}

/** How many of the records fit; with `RRsets`, none of them is cut in two. */
function putRecords(
  writer: WireWriter,
  records: readonly ResourceRecord[],
  { roomBytes, whole }: { readonly roomBytes: number; readonly whole: 'records' | 'RRsets' },
): number {
  let kept = { count: 0, length: writer.length }
  for (const [index, record] of records.entries()) {
    if (whole === 'records' || !sameRrset(records[index - 1], record)) kept = { count: index, length: writer.length }
    putRecord(writer, record)
    if (writer.length > roomBytes) {
      cutWriter(writer, kept.length)
      return kept.count
    }
  }
  return records.length
}

function sameRrset(a: ResourceRecord | undefined, b: ResourceRecord): boolean {
  return a !== undefined && a.name === b.name && rdataCode(a.data) === rdataCode(b.data)
}

function putRecord(writer: WireWriter, record: ResourceRecord): void {
  putName(writer, record.name, 'compress')
  putU16(writer, rdataCode(record.data))
  putU16(writer, record.class)
  putU32(writer, record.ttlSeconds)
  const lengthAt = writer.length
  putU16(writer, 0)
  encodeRdata(writer, record.data)
  patchU16(writer, lengthAt, writer.length - lengthAt - 2)
}

function decodeQuestion(reader: WireReader): Question {
  return { name: getName(reader), type: getU16(reader), class: getU16(reader) }
}

function decodeRecord(reader: WireReader): ResourceRecord {
  const name = getName(reader)
  const code = getU16(reader)
  const recordClass = getU16(reader)
  const ttlSeconds = getU32(reader)
  const length = getU16(reader)
  const data: Rdata =
    code === metaType.OPT
      ? { type: 'unknown', code, bytes: getBytes(reader, length) }
      : decodeRdata(reader, code, length)
  return { name, class: recordClass, ttlSeconds, data }
}

function isOpt(record: ResourceRecord): boolean {
  return rdataCode(record.data) === metaType.OPT
}

function many<Item>(count: number | undefined, make: () => Item): Item[] {
  const items: Item[] = []
  for (let i = 0; i < (count ?? 0); i++) items.push(make())
  return items
}

function malformed(what: string, offset: number): AppError {
  return new AppError('ERR_DNS_FORMAT', `malformed message: ${what}`, { details: { offset } })
}
