import { createHash } from 'node:crypto'

/** Zooko's base32, for people: philzimmermann.com/docs/human-oriented-base-32-encoding.txt */
const alphabet = 'ybndrfg8ejkmcpqxot1uwisza345h769'

/** The first 5 characters of zbase32(sha1(task id)): `test` → `iffe9`. Mesos-DNS tells tasks of one name apart by it. */
export function taskHash(taskId: string): string {
  const digest = createHash('sha1').update(taskId, 'utf8').digest()
  const bits = digest.readUInt32BE(0)
  return [27, 22, 17, 12, 7].map((shift) => alphabet.charAt((bits >>> shift) & 31)).join('')
}
