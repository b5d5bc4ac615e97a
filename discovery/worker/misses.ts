import { type Misses } from './messages.ts'

/** One packet of {@link Misses}. */
export interface Miss {
  readonly address: Uint8Array
  readonly packet: Uint8Array
}

/** Puts packets of one socket together. */
export function encodeMisses(fd: number, list: readonly Miss[]): Misses {
  const bytes = new Uint8Array(list.reduce((sum, { address, packet }) => sum + 4 + address.length + packet.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const { address, packet } of list) {
    view.setUint16(at, address.length)
    view.setUint16(at + 2, packet.length)
    bytes.set(address, at + 4)
    bytes.set(packet, at + 4 + address.length)
    at += 4 + address.length + packet.length
  }
  return { fd, bytes }
}

/** Takes them apart; views of the octets. */
export function decodeMisses({ bytes }: Misses): readonly Miss[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const list: Miss[] = []
  for (let at = 0; at < bytes.length; ) {
    const middle = at + 4 + view.getUint16(at)
    const end = middle + view.getUint16(at + 2)
    list.push({ address: bytes.subarray(at + 4, middle), packet: bytes.subarray(middle, end) })
    at = end
  }
  return list
}
