// Runs in a simulated host: `node prober.ts`. Reads a question a line ({name, vipName, port}), asks until the name has an
// address, then connects to the VIP until it answers, and prints when each first held, in milliseconds since the epoch.
// It asks in a tight loop, which the thing that is measured never does: that is how the moment is told from outside.
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setImmediate as turn, setTimeout as sleepMs } from 'node:timers/promises'
import { parseIp } from '../../core/base/ip.ts'
import { parseName } from '../../discovery/dns/name.ts'
import { queryDns } from '../../discovery/dns/query.ts'
import { dnsAddress } from '../../networking/protocol.ts'

/** What to wait for. */
export interface ProbeQuestion {
  /** A name of the task. */
  readonly name: string
  /** The name of its virtual address. */
  readonly vipName: string
  readonly port: number
}

/** When it first held, in milliseconds since the epoch. */
export interface ProbeAnswer {
  readonly namedAtMs: number
  readonly answeredAtMs: number
}

const typeA = 1
const limitMs = 30_000
const signal = new AbortController().signal
const nowMs = () => performance.timeOrigin + performance.now()

async function addressOf(name: string): Promise<string | undefined> {
  const query = { server: parseIp(dnsAddress), name: parseName(name), type: typeA, timeoutMs: 500, signal }
  try {
    const { answers } = await queryDns(query)
    const data: unknown = answers[0]?.data
    return typeof data === 'object' && data !== null && 'address' in data ? String(data.address) : undefined
  } catch {
    return undefined // not answered: asked again
  }
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port }, () => socket.write('GET / HTTP/1.0\r\n\r\n'))
    const done = (ok: boolean) => {
      socket.destroy()
      resolve(ok)
    }
    socket.setTimeout(200, () => done(false))
    socket.on('data', () => done(true))
    socket.on('error', () => done(false))
    socket.on('close', () => done(false))
  })
}

async function until(holds: () => Promise<boolean>): Promise<number> {
  const deadline = nowMs() + limitMs
  while (!(await holds())) {
    if (nowMs() > deadline) return Number.NaN
    await sleepMs(1)
  }
  return nowMs()
}

async function probe({ name, vipName, port }: ProbeQuestion): Promise<ProbeAnswer> {
  const namedAtMs = await until(async () => (await addressOf(name)) !== undefined)
  const answeredAtMs = await until(async () => {
    const vip = await addressOf(vipName)
    return vip !== undefined && (await answers(vip, port))
  })
  return { namedAtMs, answeredAtMs }
}

await turn()
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await probe(JSON.parse(line) as ProbeQuestion))}\n`)
}
