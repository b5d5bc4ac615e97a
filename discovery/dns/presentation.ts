import { AppError } from '../../core/base/errors.ts'
import { dnsClass, metaType, opcode, rcode } from './constants.ts'
import { type Message, type Question, type ResourceRecord } from './message.ts'
import { formatRdata, knownType, type KnownType, rdataCode, typeCode } from './rdata.ts'

const metaNames: ReadonlyMap<number, string> = new Map(Object.entries(metaType).map(([name, code]) => [code, name]))
const classNames: ReadonlyMap<number, string> = new Map(Object.entries(dnsClass).map(([name, code]) => [code, name]))
const rcodeNames: ReadonlyMap<number, string> = new Map(Object.entries(rcode).map(([name, code]) => [code, name]))
const opcodeNames: ReadonlyMap<number, string> = new Map(Object.entries(opcode).map(([name, code]) => [code, name]))
const knownTypes: readonly KnownType[] = ['A', 'NS', 'CNAME', 'SOA', 'PTR', 'MX', 'TXT', 'AAAA', 'SRV', 'DNAME']

/** `A`, `SRV`, …; `TYPE65280` where the number has no name here. RFC 3597 §5. */
export function formatType(code: number): string {
  return knownType(code) ?? metaNames.get(code) ?? `TYPE${code}`
}

/** Number of a type by name or as `TYPEn`, in any case. @throws ERR_DNS_TYPE */
export function parseType(text: string): number {
  const upper = text.toUpperCase()
  const known = knownTypes.find((type) => type === upper)
  if (known !== undefined) return typeCode(known)
  for (const [code, name] of metaNames) if (name === upper) return code
  const generic = /^TYPE(\d{1,5})$/.exec(upper)?.[1]
  if (generic !== undefined && Number(generic) <= 65535) return Number(generic)
  throw new AppError('ERR_DNS_TYPE', `"${text}" is no record type: use ${knownTypes.join(', ')}, ANY or TYPE<number>`)
}

/** `IN`, `CH`, … or `CLASSn`. */
export function formatClass(code: number): string {
  return classNames.get(code) ?? `CLASS${code}`
}

/** `NOERROR`, `NXDOMAIN`, … or `RCODEn`. */
export function formatRcode(code: number): string {
  return rcodeNames.get(code) ?? `RCODE${code}`
}

/** `QUERY`, `NOTIFY`, … or `OPCODEn`. */
export function formatOpcode(code: number): string {
  return opcodeNames.get(code) ?? `OPCODE${code}`
}

/** A line of a zone file: owner, TTL, class, type, data. RFC 1035 §5.1. */
export function formatRecord(record: ResourceRecord): string {
  const type = formatType(rdataCode(record.data))
  return `${record.name}\t${record.ttlSeconds}\t${formatClass(record.class)}\t${type}\t${formatRdata(record.data)}`
}

/** `web.marathon.mesos. IN A` */
export function formatQuestion(question: Question): string {
  return `${question.name} ${formatClass(question.class)} ${formatType(question.type)}`
}

/** A message for a person, one line for the header and one for each question and record. */
export function formatMessage(message: Message): string {
  const flags = [
    message.response ? 'qr' : '',
    message.authoritative ? 'aa' : '',
    message.truncated ? 'tc' : '',
    message.recursionDesired ? 'rd' : '',
    message.recursionAvailable ? 'ra' : '',
  ].filter((flag) => flag !== '')
  return [
    `; ${formatOpcode(message.opcode)} ${formatRcode(message.rcode)} id ${message.id} flags ${flags.join(' ')}`,
    ...message.questions.map((question) => `; question ${formatQuestion(question)}`),
    ...message.answers.map(formatRecord),
    ...message.authorities.map((record) => `; authority ${formatRecord(record)}`),
    ...message.additionals.map((record) => `; additional ${formatRecord(record)}`),
  ].join('\n')
}
