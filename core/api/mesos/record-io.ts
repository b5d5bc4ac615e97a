/**
 * RecordIO: the decimal count of octets, a newline, the record. The JSON is kept to ASCII, so that clients that count
 * characters (npm's mesos-framework) count right. Source: mesos, docs/recordio.md.
 */
export function encodeRecord(value: object): Buffer {
  const json = JSON.stringify(value).replace(/[^\u0020-\u007e]/g, escapeUnit)
  return Buffer.from(`${json.length}\n${json}`, 'latin1')
}

/** One UTF-16 unit, as JSON may write it. */
function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
