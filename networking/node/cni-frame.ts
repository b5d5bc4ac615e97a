import { AppError } from '../../core/base/errors.ts'

/**
 * How the plugin's client and the node daemon talk: one request and one answer for each connection. Numbers are in
 * network byte order.
 *
 *     request:  u32 length | u32 environment length | NAME=VALUE NUL … | standard input
 *     answer:   u32 length | u8 exit code | standard output
 *
 * `length` counts what follows it. The same content without the first number is a file of the DEL queue.
 */

/** A call of the plugin. */
export interface CniCall {
  readonly env: Readonly<Record<string, string>>
  readonly stdin: string
}

/** What the plugin prints, and its exit code. */
export interface CniAnswer {
  readonly exitCode: number
  readonly stdout: string
}

/** Largest content of a request, in octets. */
export const frameLimitBytes = 1 << 20

/** Octets of the number in front of a frame. */
export const frameHeaderBytes = 4

/**
 * Decodes a request without its leading length.
 * @throws ERR_CNI_FRAME when a length leads outside the content, or it is not UTF-8
 */
export function decodeCall(content: Uint8Array): CniCall {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  if (bytes.length < 4) throw new AppError('ERR_CNI_FRAME', `a request has at least 4 octets, not ${bytes.length}`)
  const end = 4 + bytes.readUInt32BE(0)
  if (end > bytes.length) {
    throw new AppError('ERR_CNI_FRAME', `at octet 0: the environment ends at ${end} of ${bytes.length} octets`)
  }
  const block = decodeText(bytes.subarray(4, end), 4)
  if (block !== '' && !block.endsWith('\0')) {
    throw new AppError('ERR_CNI_FRAME', `at octet ${end}: the last variable has no end`)
  }
  return { env: parseEnvironment(block), stdin: decodeText(bytes.subarray(end), end) }
}

/** Encodes a request as it goes over the socket. */
export function encodeCall({ env, stdin }: CniCall): Buffer {
  const block = Buffer.from(
    Object.entries(env)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(''),
  )
  const input = Buffer.from(stdin)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(4 + block.length + input.length, 0)
  head.writeUInt32BE(block.length, 4)
  return Buffer.concat([head, block, input])
}

/** Encodes an answer as it goes over the socket. */
export function encodeAnswer({ exitCode, stdout }: CniAnswer): Buffer {
  const text = Buffer.from(stdout)
  const head = Buffer.alloc(5)
  head.writeUInt32BE(1 + text.length, 0)
  head.writeUInt8(exitCode & 0xff, 4)
  return Buffer.concat([head, text])
}

function parseEnvironment(block: string): Readonly<Record<string, string>> {
  const env: Record<string, string> = Object.create(null)
  for (const variable of block.split('\0').slice(0, -1)) {
    const equals = variable.indexOf('=')
    if (equals > 0) env[variable.slice(0, equals)] = variable.slice(equals + 1)
  }
  return env
}

function decodeText(bytes: Uint8Array, offset: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new AppError('ERR_CNI_FRAME', `from octet ${offset}: not UTF-8`, { cause })
  }
}
