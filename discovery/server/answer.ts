import { dnsClass, headerBytes, metaType, opcode, rcode } from '../dns/constants.ts'
import { type Edns } from '../dns/edns.ts'
import {
  decodeHeader,
  decodeMessage,
  encodeMessage,
  type Message,
  type MessageHeader,
  type Question,
} from '../dns/message.ts'
import { nameKey } from '../dns/name.ts'
import { typeCode } from '../dns/rdata.ts'
import { limitBytes, ownUdpSizeBytes } from './limits.ts'
import { lookup, type Found } from './lookup.ts'
import { type ZoneReader } from './zone-store.ts'

/** What an answer depends on besides the query. */
export interface AnswerContext {
  readonly zones: ZoneReader
  readonly transport: 'udp' | 'tcp'
  /** Counts up from answer to answer: where rotated RRsets begin. */
  readonly rotation: number
  /** Whether foreign names are resolved for the client: RA is set. */
  readonly recursion: 'none' | 'forwarded'
  /** What `version.bind` is answered; absent: refused. */
  readonly versionText?: string
}

/** What becomes of a query. `period`: the reply comes again after so many rotations, until the zones change. */
export type Answer =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array; readonly rcode: number; readonly period?: number }
  /** A well-formed question for a name of no zone of ours. */
  | { readonly kind: 'foreign'; readonly query: Message }
  /** No query at all: too short, or itself a response (answering could make two servers talk for ever). */
  | { readonly kind: 'drop' }

/**
 * The response to a packet. Pure: the same zones, packet and context give the same octets. Never throws, whatever the
 * packet is: malformed ones get FORMERR. RFC 1035 §4, 2308, 6891, 8482.
 */
export function answer(packet: Uint8Array, context: AnswerContext): Answer {
  if (packet.length < headerBytes) return { kind: 'drop' }
  const header = decodeHeader(packet)
  if (header.response) return { kind: 'drop' }
  const query = tryDecode(packet)
  if (header.opcode !== opcode.QUERY) return bare(header, { query, context, code: rcode.NOTIMP })
  if (query === undefined) return bare(header, { query, context, code: rcode.FORMERR })
  return answerQuery(query, context)
}

/** A response of the given code without records: for queries that only later turn out not to be answerable. */
export function refuse(query: Message, context: AnswerContext, code: number): Answer {
  return bare(query, { query, context, code })
}

function tryDecode(packet: Uint8Array): Message | undefined {
  try {
    return decodeMessage(packet)
  } catch {
    return undefined // ERR_DNS_FORMAT: the caller answers FORMERR
  }
}

function answerQuery(query: Message, context: AnswerContext): Answer {
  const [question, second] = query.questions
  if (question === undefined || second !== undefined) return refuse(query, context, rcode.FORMERR)
  if (query.edns !== undefined && query.edns.version > 0) return refuse(query, context, rcode.BADVERS)
  if (question.class === dnsClass.CH) return answerChaos(query, question, context)
  if (question.class !== dnsClass.IN) return refuse(query, context, rcode.REFUSED)
  const { type } = question
  if (type === metaType.OPT || type === 0) return refuse(query, context, rcode.FORMERR)
  if (type === metaType.AXFR || type === metaType.IXFR) return refuse(query, context, rcode.REFUSED)
  if (type >= 128 && type < metaType.ANY) return refuse(query, context, rcode.NOTIMP)
  const found = lookup(context.zones, question, context.rotation)
  if (found === undefined) return { kind: 'foreign', query }
  const outcome = reply(responseTo(query, context, found), query, context)
  return found.period === undefined ? outcome : { ...outcome, period: found.period }
}

/** Names of the server's own properties. Source: BIND 9 ARM, built-in server information zones; RFC 4892. */
const versionNames: ReadonlySet<string> = new Set(['version.bind.', 'version.server.'])

function answerChaos(query: Message, { name, type }: Question, context: AnswerContext): Answer {
  const { versionText } = context
  const asksVersion = versionNames.has(nameKey(name)) && (type === typeCode('TXT') || type === metaType.ANY)
  if (versionText === undefined || !asksVersion) return refuse(query, context, rcode.REFUSED)
  const record = { name, class: dnsClass.CH, ttlSeconds: 0, data: { type: 'TXT', strings: [versionText] } } as const
  const found = { code: rcode.NOERROR, authoritative: true, answers: [record], authorities: [], additionals: [] }
  return reply(responseTo(query, context, found), query, context)
}

/** A response with nothing but its code; it echoes the question when there was exactly one. */
function bare(
  header: MessageHeader,
  options: { readonly query: Message | undefined; readonly context: AnswerContext; readonly code: number },
): Answer {
  const { query, context, code } = options
  const empty: Found = { code, authoritative: false, answers: [], authorities: [], additionals: [] }
  const basis: Message = query ?? { ...header, questions: [], answers: [], authorities: [], additionals: [] }
  const questions = basis.questions.length === 1 ? basis.questions : []
  return reply(responseTo({ ...basis, questions }, context, empty), basis, context)
}

function responseTo(query: Message, { recursion }: AnswerContext, found: Found): Message {
  const response = {
    id: query.id,
    response: true,
    opcode: query.opcode,
    authoritative: found.authoritative,
    truncated: false,
    recursionDesired: query.recursionDesired,
    recursionAvailable: recursion === 'forwarded',
    authenticData: false,
    checkingDisabled: false,
    rcode: found.code,
    questions: query.questions,
    answers: found.answers,
    authorities: found.authorities,
    additionals: found.additionals,
  }
  return query.edns === undefined ? response : { ...response, edns: ownEdns(query.edns) }
}

/** Our OPT: DO comes back as it was (RFC 3225 §3), options that we do not know stay unanswered (RFC 6891 §6.1.2). */
function ownEdns(theirs: Edns): Edns {
  return { udpSizeBytes: ownUdpSizeBytes, version: 0, dnssecOk: theirs.dnssecOk, options: [] }
}

function reply(response: Message, query: Message, context: AnswerContext): Extract<Answer, { kind: 'reply' }> {
  return {
    kind: 'reply',
    bytes: encodeMessage(response, { limitBytes: limitBytes(query, context.transport) }),
    rcode: response.rcode,
  }
}
