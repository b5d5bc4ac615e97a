import { AppError } from '../../core/base/errors.ts'

declare const brand: unique symbol

/**
 * A domain name in presentation text (RFC 1035 §5.1): absolute, with its last dot, in the case in which it was given;
 * octets that are no printable ASCII as `\DDD`. Only functions here make one, so every Name keeps the limits of
 * RFC 1035 §2.3.4: labels of 1 to 63 octets, 255 in all.
 */
export type Name = string & { readonly [brand]: true }

/** A {@link Name} in lower case: what names are compared by (RFC 4343). */
export type NameKey = string & { readonly [brand]: 'key' }

/** The root. */
export const rootName = '.' as Name

const maxLabelOctets = 63
const maxNameOctets = 255

/**
 * Parses presentation text; the last dot may be missing.
 * @throws ERR_DNS_NAME for an empty label, one over 63 octets, a name over 255, or a broken escape
 */
export function parseName(text: string): Name {
  if (text === '.' || text === '') return rootName
  const labels: string[] = ['']
  for (let i = 0; i < text.length; ) {
    const { octet, length } = nextOctet(text, i)
    i += length
    if (octet === undefined) labels.push('')
    else labels[labels.length - 1] += octet
  }
  if (labels.at(-1) === '') labels.pop()
  return nameOfLabels(labels)
}

/** One octet of presentation text, or `undefined` for the dot that ends a label. */
function nextOctet(text: string, at: number): { readonly octet: string | undefined; readonly length: number } {
  const char = text.charAt(at)
  if (char === '.') return { octet: undefined, length: 1 }
  if (char.charCodeAt(0) > 255) throw new AppError('ERR_DNS_NAME', `"${text}": write characters beyond octets as \\DDD`)
  if (char !== '\\') return { octet: char, length: 1 }
  const digits = /^\d{3}/.exec(text.slice(at + 1))?.[0]
  if (digits !== undefined) {
    if (Number(digits) > 255) throw new AppError('ERR_DNS_NAME', `"${text}": \\${digits} is no octet`)
    return { octet: String.fromCharCode(Number(digits)), length: 4 }
  }
  const literal = text.charAt(at + 1)
  if (literal === '') throw new AppError('ERR_DNS_NAME', `"${text}" ends within an escape`)
  return { octet: literal, length: 2 }
}

/**
 * The name of the labels; each character of a label is one octet.
 * @throws ERR_DNS_NAME when a label is empty or over 63 octets, or the name is over 255
 */
export function nameOfLabels(labels: readonly string[]): Name {
  let octets = 1
  for (const label of labels) {
    if (label.length === 0 || label.length > maxLabelOctets) {
      throw new AppError('ERR_DNS_NAME', `"${labels.join('.')}": a label has 1 to 63 octets, not ${label.length}`)
    }
    octets += label.length + 1
  }
  if (octets > maxNameOctets) {
    throw new AppError('ERR_DNS_NAME', `"${labels.join('.')}": a name has at most 255 octets, not ${octets}`)
  }
  return nameOfGoodLabels(labels)
}

function nameOfGoodLabels(labels: readonly string[]): Name {
  if (labels.length === 0) return rootName
  let text = ''
  for (const label of labels) text += `${escapeLabel(label)}.`
  return text as Name
}

function escapeLabel(label: string): string {
  if (!/[^!-[\]-~]|\./.test(label)) return label
  let text = ''
  for (const char of label) {
    const code = char.charCodeAt(0)
    if (char === '.' || char === '\\') text += `\\${char}`
    else if (code > 0x20 && code < 0x7f) text += char
    else text += `\\${String(code).padStart(3, '0')}`
  }
  return text
}

/** The labels, one character for each octet. */
export function labelsOf(name: Name): readonly string[] {
  if (name === rootName) return []
  if (!name.includes('\\')) return name.slice(0, -1).split('.')
  const labels: string[] = ['']
  for (let i = 0; i < name.length - 1; ) {
    const { octet, length } = nextOctet(name, i)
    i += length
    if (octet === undefined) labels.push('')
    else labels[labels.length - 1] += octet
  }
  return labels
}

/** What the name is compared by. */
export function nameKey(name: Name): NameKey {
  return name.toLowerCase() as string as NameKey
}

/** The key without its first label; `undefined` for the root. */
export function parentKey(key: NameKey): NameKey | undefined {
  if (key.length === 1) return undefined
  let dot = key.indexOf('.')
  while (isEscaped(key, dot)) dot = key.indexOf('.', dot + 1)
  return dot === key.length - 1 ? ('.' as string as NameKey) : (key.slice(dot + 1) as NameKey)
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0
  while (text[at - 1 - backslashes] === '\\') backslashes++
  return backslashes % 2 === 1
}

/** Octets on the wire without compression. */
export function nameOctets(name: Name): number {
  let octets = 1
  for (const label of labelsOf(name)) octets += label.length + 1
  return octets
}

/** A name read from a message, and where the reader goes on. */
export interface DecodedName {
  readonly name: Name
  readonly next: number
}

/**
 * Reads a name at `offset`, following compression pointers (RFC 1035 §4.1.4). Each pointer must lead before the place
 * where the last run of labels began, so loops are impossible.
 * @throws ERR_DNS_FORMAT with `details.offset` for anything else
 */
export function decodeName(bytes: Uint8Array, offset: number): DecodedName {
  const labels: string[] = []
  let at = offset
  let runStart = offset
  let next = -1
  let octets = 1
  for (;;) {
    const length = bytes[at]
    if (length === undefined) throw malformed('a name goes beyond the end', at)
    if (length === 0) return { name: nameOfGoodLabels(labels), next: next < 0 ? at + 1 : next }
    if (length > maxLabelOctets) {
      const target = pointerTarget(bytes, at)
      if (target >= runStart) throw malformed(`a compression pointer leads forward to ${target}`, at)
      if (next < 0) next = at + 2
      runStart = target
      at = target
      continue
    }
    octets += length + 1
    if (octets > maxNameOctets) throw malformed('a name is over 255 octets', at)
    if (at + 1 + length > bytes.length) throw malformed('a label goes beyond the end', at)
    labels.push(latin1(bytes, at + 1, at + 1 + length))
    at += length + 1
  }
}

function pointerTarget(bytes: Uint8Array, at: number): number {
  const high = bytes[at] ?? 0
  const low = bytes[at + 1]
  if ((high & 0xc0) !== 0xc0) throw malformed(`label type ${high >> 6} is unknown`, at)
  if (low === undefined) throw malformed('a compression pointer goes beyond the end', at)
  return ((high & 0x3f) << 8) | low
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] ?? 0)
  return text
}

function malformed(what: string, offset: number): AppError {
  return new AppError('ERR_DNS_FORMAT', `malformed message: ${what} (offset ${offset})`, { details: { offset } })
}
