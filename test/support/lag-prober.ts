// Runs in a simulated host: `node lag-prober.ts NAME SECONDS`. Asks the node's DNS server for NAME in a tight loop; the
// name's address tells the number of the change that it is of. Prints, at the end, when each number was first seen.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { decodeMessage, encodeMessage } from '../../discovery/dns/message.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { dnsAddress } from '../../networking/protocol.ts'

const [name = '', seconds = '1'] = process.argv.slice(2)
const nowMs = () => performance.timeOrigin + performance.now()
const question = { name: parseName(name), type: 1, class: 1 }
const flags = { response: false, opcode: 0, authoritative: false, truncated: false, recursionAvailable: false }
const header = { ...flags, recursionDesired: true, authenticData: false, checkingDisabled: false, rcode: 0 }
const sections = { questions: [question], answers: [], authorities: [], additionals: [] }
const packet = encodeMessage({ id: 1, ...header, ...sections }, { limitBytes: 512 })

const seen = new Map<number, number>()
const socket = createSocket('udp4')
socket.connect(53, dnsAddress)
await once(socket, 'connect')
const ask = () => socket.send(packet)
socket.on('error', () => undefined) // nobody listens yet: the next question is asked below
socket.on('message', (bytes) => {
  const data: unknown = decodeMessage(bytes).answers[0]?.data
  const address = typeof data === 'object' && data !== null && 'address' in data ? String(data.address) : undefined
  const number = address
    ?.split('.')
    .slice(2)
    .reduce((sum, part) => sum * 256 + Number(part), 0)
  if (number !== undefined && !seen.has(number)) seen.set(number, nowMs())
  setImmediate(ask)
})
const again = setInterval(ask, 50) // a lost packet, or SERVFAIL before the first version, ends nothing
ask()
setTimeout(() => {
  clearInterval(again)
  socket.close()
  process.stdout.write(JSON.stringify([...seen]))
}, Number(seconds) * 1000)
