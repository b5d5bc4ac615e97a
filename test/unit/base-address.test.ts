import t from 'tap'
import { cidrContains, cidrNth, cidrOf, cidrOverlaps, parseCidr } from '../../core/base/cidr.ts'
import {
  type Ip,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  ipToBytes,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIp,
} from '../../core/base/ip.ts'

const numbers: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 0],
  ['0.0.0.255', 255],
  ['1.2.3.4', 0x01020304],
  ['10.80.0.1', 0x0a500001],
  ['127.255.255.255', 0x7fffffff],
  ['128.0.0.0', 0x80000000],
  ['255.255.255.255', 0xffffffff],
]

for (const [text, number] of numbers) {
  t.test(text, async (t) => {
    const address = parseIp(text)
    t.equal(ipv4ToNumber(address), number)
    t.equal(ipv4FromNumber(number), text)
    t.same([...ipToBytes(address)], text.split('.').map(Number))
    t.equal(ipFromBytes(ipToBytes(address)), text)
    t.equal(ipToBigInt(address), BigInt(number))
    t.equal(ipFromBigInt(BigInt(number), 4), text)
  })
}

/** The prefix by arithmetic of any size, which the fast ways must agree with. */
function slowPrefix(address: Ip, length: number): string {
  const bits = address.includes(':') ? 128 : 32
  const host = BigInt(bits - length)
  return `${ipFromBigInt((ipToBigInt(address) >> host) << host, bits === 32 ? 4 : 6)}/${length}`
}

for (const text of ['255.255.255.255', '128.0.0.1', '10.83.255.254', 'fd00:80::ffff:1', 'ffff:ffff::ffff']) {
  t.test(`prefixes of ${text}`, async (t) => {
    const address = parseIp(text)
    for (let length = 0; length <= (text.includes(':') ? 128 : 32); length++) {
      const cidr = cidrOf(address, length)
      t.equal(cidr, slowPrefix(address, length))
      t.equal(cidrContains(cidr, address), true, `${cidr} has ${address}`)
    }
  })
}

const containing: readonly (readonly [string, string, boolean])[] = [
  ['10.80.0.0/14', '10.83.255.255', true],
  ['10.80.0.0/14', '10.84.0.0', false],
  ['128.0.0.0/1', '127.255.255.255', false],
  ['0.0.0.0/0', '255.1.2.3', true],
  ['0.0.0.0/0', '::', false],
  ['10.0.0.1/32', '10.0.0.2', false],
  ['::/0', '10.0.0.1', false],
  ['fd00:80::/48', 'fd00:80:0:ffff::', true],
  ['fd00:80::/48', 'fd00:80:1::', false],
]

for (const [prefix, address, expected] of containing) {
  t.test(`${prefix} ${expected ? 'has' : 'lacks'} ${address}`, async (t) => {
    t.equal(cidrContains(parseCidr(prefix), parseIp(address)), expected)
  })
}

t.test('arithmetic over the middle of the range, and refusals', async (t) => {
  t.equal(cidrNth(parseCidr('127.255.255.0/24'), 255n), '127.255.255.255')
  t.equal(cidrNth(parseCidr('0.0.0.0/0'), 0xffff_ffffn), '255.255.255.255')
  t.equal(cidrOverlaps(parseCidr('128.0.0.0/1'), parseCidr('192.0.2.0/24')), true)
  t.equal(cidrOverlaps(parseCidr('128.0.0.0/1'), parseCidr('10.0.0.0/8')), false)
  t.throws(() => ipFromBigInt(1n << 32n, 4), { code: 'ERR_IP_INVALID' })
  t.throws(() => parseCidr('10.0.0.1/24'), { code: 'ERR_IP_INVALID', message: /did you mean 10\.0\.0\.0\/24/ })
})
