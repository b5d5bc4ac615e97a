import { randomFillSync } from 'node:crypto'

/** Octets that are drawn with one call, which costs as much as all else that a query needs before it goes out. */
const poolBytes = 4096

/** Octets of the machine's cryptographic source; views that are overwritten later. At most {@link poolBytes} each. */
export function makeRandomBytes(): (count: number) => Uint8Array {
  const pool = new Uint8Array(poolBytes)
  let at = poolBytes
  return (count) => {
    if (at + count > poolBytes) {
      randomFillSync(pool)
      at = 0
    }
    at += count
    return pool.subarray(at - count, at)
  }
}
