/**
 * Collects messages in one buffer that grows as needed and is used again for the next batch: making a buffer for each
 * message would cost more than encoding it.
 */
export class Writer {
  buffer: Buffer
  length = 0

  constructor(capacityBytes = 4096) {
    this.buffer = Buffer.allocUnsafeSlow(capacityBytes)
  }

  /** Makes room for `count` octets of unknown content. @returns where they start */
  reserve(count: number): number {
    const at = this.length
    this.length += count
    if (this.length > this.buffer.length) this.grow()
    return at
  }

  /** Makes room for `count` zeros. @returns where they start */
  zeros(count: number): number {
    const at = this.reserve(count)
    for (let i = at; i < this.length; i++) this.buffer[i] = 0
    return at
  }

  /** Pads with zeros to a multiple of 4: NLMSG_ALIGNTO and NLA_ALIGNTO, include/uapi/linux/netlink.h. */
  align(): void {
    this.zeros(-this.length & 3)
  }

  /** Appends octets. */
  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length)
    this.buffer.set(bytes, at)
  }

  /** What was written since `start`, as a copy. */
  copy(start = 0): Buffer {
    return Buffer.from(this.buffer.subarray(start, this.length))
  }

  private grow(): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.length, this.buffer.length * 2))
    larger.set(this.buffer)
    this.buffer = larger
  }
}
