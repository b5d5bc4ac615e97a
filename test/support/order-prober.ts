// Runs in a simulated host: `node order-prober.ts NAME PORT`. Resolves the name and connects, again and again, until its
// standard input ends; prints {answered, unnamed, broken}. `broken`: the name still led somewhere after a connection to it
// had failed. Asking the name again after the failure makes the order of events the only thing that is judged.
import { connect } from 'node:net'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { parseIp } from '../../core/base/ip.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { dnsAddress } from '../../networking/protocol.ts'

const [name = '', port = '80'] = process.argv.slice(2)
const { signal } = new AbortController()
const counts = { answered: 0, unnamed: 0, broken: 0 }

async function resolve(): Promise<string | undefined> {
  const query = { server: parseIp(dnsAddress), name: parseName(name), type: 1, timeoutMs: 2_000, signal }
  const { answers } = await queryDns(query)
  const data: unknown = answers[0]?.data
  return typeof data === 'object' && data !== null && 'address' in data ? String(data.address) : undefined
}

function answers(host: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host, port: Number(port) }, () => socket.write('x\n'))
    socket.setTimeout(2_000, () => socket.destroy())
    socket.once('data', () => {
      done(true)
      socket.destroy()
    })
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => done(false))
  })
}

let ending = false
process.stdin.on('end', () => {
  ending = true
})
process.stdin.resume()
while (!ending) {
  const address = await resolve()
  if (address === undefined) counts.unnamed++
  else if (await answers(address)) counts.answered++
  else if ((await resolve()) !== undefined) counts.broken++
  await sleepMs(2)
}
process.stdout.write(JSON.stringify(counts))
