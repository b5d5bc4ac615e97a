/**
 * What probes say: `"WFPR" | kind (1) | token (8) | octets (2, network order)`, then padding. An answer is as short as a
 * question can be, so that a responder amplifies nothing, and has the length of the question's payload as it arrived.
 */

/** UDP port of the responders, next to that of VXLAN. */
export const probePort = 64_001

/** Octets of an answer, and of the shortest question. */
export const messageBytes = 16

/** A question or an answer. */
export interface ProbeMessage {
  readonly kind: 'question' | 'answer'
  /** Chosen by who asks. */
  readonly token: bigint
  /** Length of the question's UDP payload, in octets. */
  readonly octets: number
}

const magic = 0x57465052
const kinds = ['question', 'answer'] as const

/** A question is padded to `octets`; an answer always has {@link messageBytes}. */
export function encodeProbe({ kind, token, octets }: ProbeMessage): Buffer {
  const bytes = Buffer.alloc(kind === 'question' ? Math.max(octets, messageBytes) : messageBytes)
  bytes.writeUInt32BE(magic, 0)
  bytes.writeUInt8(kinds.indexOf(kind), 4)
  bytes.writeBigUInt64BE(token, 5)
  bytes.writeUInt16BE(octets, 13)
  return bytes
}

/** @returns undefined for anything else, also for a question whose length is not what it says */
export function decodeProbe(bytes: Buffer): ProbeMessage | undefined {
  if (bytes.length < messageBytes || bytes.readUInt32BE(0) !== magic) return undefined
  const kind = kinds[bytes.readUInt8(4)]
  const octets = bytes.readUInt16BE(13)
  if (kind === undefined || (kind === 'question' && octets !== bytes.length)) return undefined
  return { kind, token: bytes.readBigUInt64BE(5), octets }
}
