import { AppError } from '../../core/base/errors.ts'

/** A larger record is no record. */
const maxRecordBytes = 1 << 30

/**
 * Splits a RecordIO stream: decimal length, line feed, so many octets. Source: reference/mesos-http-api.md, Scheduler.
 * @throws ERR_MESOS_STREAM when a length is no number
 */
export function makeRecordSplitter(): (chunk: Uint8Array) => readonly string[] {
  let held = Buffer.alloc(0)
  return (chunk) => {
    held = held.length === 0 ? Buffer.from(chunk) : Buffer.concat([held, chunk])
    const records: string[] = []
    let at = 0
    for (;;) {
      const end = held.indexOf(0x0a, at)
      const digits = held.toString('latin1', at, end < 0 ? Math.min(held.length, at + 12) : end)
      if (!/^\d{0,10}$/.test(digits) || (end >= 0 && digits === '') || Number(digits) > maxRecordBytes) {
        throw new AppError('ERR_MESOS_STREAM', `"${digits}" is no length of a record`)
      }
      if (end < 0 || held.length < end + 1 + Number(digits)) break
      records.push(held.toString('utf8', end + 1, end + 1 + Number(digits)))
      at = end + 1 + Number(digits)
    }
    held = held.subarray(at)
    return records
  }
}
