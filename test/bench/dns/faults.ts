// What upstreams do to our proxy's clients, for the benchmark: `node faults.ts KNOT-PORT`, in a namespace. It prints one line
// of JSON: {@link ProxyFacts} of test/bench/dns.bench.ts.
import { parseIp } from '../../../core/base/ip.ts'
import { silentLog } from '../../../core/base/log.ts'
import { parseName } from '../../../discovery/dns/name.ts'
import { queryDns } from '../../../discovery/dns/query.ts'
import { type Upstream } from '../../../discovery/proxy/config.ts'
import { namesConfig } from '../../../discovery/records/config.ts'
import { openDnsThreads } from '../../../discovery/worker/open.ts'
import { addressReply, openUpstream } from '../../support/dns-upstream.ts'
import { median } from '../report.ts'
import { benchApex, foreignNames } from './cluster.ts'

const address = parseIp('127.0.0.1')
const { signal } = new AbortController()

function openProxy(upstreams: readonly Upstream[]) {
  return openDnsThreads({
    config: namesConfig(),
    addresses: [address],
    port: 0,
    log: silentLog,
    proxy: { upstreams, forwardZones: [], search: [], own: [benchApex] },
    onFailure: (error) => {
      throw error
    },
  })
}

/** How long an answer took, in milliseconds, and its code. */
async function ask(port: number, name: string): Promise<{ readonly ms: number; readonly rcode: number }> {
  const start = performance.now()
  const { rcode } = await queryDns({ server: address, port, name: parseName(name), type: 1, timeoutMs: 5000, signal })
  return { ms: performance.now() - start, rcode }
}

/** What a miss takes beyond what its upstream takes, in microseconds; both asked in turn, each name once. */
async function missAdds(upstream: Upstream, names: number): Promise<number> {
  const server = await openProxy([upstream])
  const [direct, through]: [number[], number[]] = [[], []]
  for (let i = 0; i < names; i++) {
    direct.push((await ask(upstream.port, `n${i}.example.test`)).ms)
    through.push((await ask(server.endpoints[0]?.port ?? 0, `n${i}.example.test`)).ms)
  }
  await server.close()
  // The first half warms up.
  const half = names / 2
  return 1000 * (median(through.slice(half)) - median(direct.slice(half)))
}

/** Of 100 queries during which the first upstreams end: how many took over 100 ms. Then all end. */
async function stops(): Promise<{ readonly slow: number; readonly deadMs: number; readonly staleMs: number | null }> {
  let alive = 3
  const upstreams = await Promise.all(
    [1, 2, 3].map((at) =>
      openUpstream((query) => (at > 3 - alive ? [addressReply(query, '192.0.2.1', 1)] : undefined)),
    ),
  )
  const server = await openProxy(upstreams.map(({ address, port }) => ({ address, port })))
  const port = server.endpoints[0]?.port ?? 0
  for (let i = 0; i < 50; i++) await ask(port, `warm${i}.example.test`)
  let slow = 0
  for (let i = 0; i < 100; i++) {
    alive = i < 30 ? 3 : i < 60 ? 2 : 1
    if ((await ask(port, `n${i}.example.test`)).ms > 100) slow++
  }
  alive = 0
  const dead = await ask(port, 'new.example.test')
  const stale = await ask(port, 'n99.example.test')
  await server.close()
  for (const upstream of upstreams) upstream.close()
  return { slow, deadMs: dead.rcode === 2 ? dead.ms : Number.NaN, staleMs: stale.rcode === 0 ? stale.ms : null }
}

const missAddsUs = await missAdds({ address, port: Number(process.argv[2]) }, foreignNames)
process.stdout.write(`${JSON.stringify({ missAddsUs, ...(await stops()) })}\n`)
process.exit(0)
