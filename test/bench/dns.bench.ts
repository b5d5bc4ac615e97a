import { type ChildProcess, execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { benchQueries, type BenchSize, smallSize } from './dns/cluster.ts'
import { startUnpacked } from './dns/unpacked-peers.ts'
import { type Contender, hasProgram, startEcho, startForwarders, startKnot, startPinned } from './dns/peers.ts'
import { type Bench, type BenchRow, median, percentile } from './report.ts'

const rounds = 5
const seconds = 1
/** A million names take seconds; a loaded machine some more. */
const lineLimitMs = 180_000
/** Each run of dnsperf is of a second or two; then it waits 5 s for what is lost. */
const dnsperfLimitMs = 60_000
const runFile = promisify(execFile)
const serverFile = fileURLToPath(new URL('./dns/server.ts', import.meta.url))
const conditions = `server and dnsperf pinned to a core each, window 256, per second of the server's core time, median of ${rounds} interleaved rounds of ${seconds} s`

type Kind = Parameters<typeof benchQueries>[0]

/** What is asked, and from how many sockets. */
interface Load {
  readonly kind: Kind
  readonly clients?: number
}

interface Setting {
  readonly host: TestHost
  readonly folder: string
}

async function dnsperf({ host, folder }: Setting, port: number, words: readonly string[], kind: Kind): Promise<string> {
  const args = ['-s', '127.0.0.1', '-p', String(port), '-d', join(folder, kind), ...words]
  const nsenter = [`--net=${host.path}`, 'taskset', '-c', '1', 'dnsperf', ...args]
  const { stdout } = await runFile('nsenter', nsenter, { maxBuffer: 1 << 28, timeout: dnsperfLimitMs })
  return stdout
}

/** Time that a process had of a core, in seconds. proc(5), /proc/PID/stat: utime and stime, in ticks of 10 ms. */
function coreSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Queries a second of a whole core: others of the machine take theirs away from what is counted by the wall clock. */
async function queriesPerSecond(
  setting: Setting,
  { port, pid }: Contender,
  { kind, clients = 1 }: Load,
): Promise<number> {
  const before = coreSeconds(pid)
  const output = await dnsperf(setting, port, ['-l', String(seconds), '-q', '256', '-c', String(clients)], kind)
  return Number(/Queries completed:\s+(\d+)/.exec(output)?.[1]) / (coreSeconds(pid) - before)
}

/** p50 and p99 at 5,000 queries/s, in microseconds. */
async function latency(setting: Setting, { port }: Contender): Promise<readonly [number, number]> {
  const output = await dnsperf(setting, port, ['-l', '2', '-Q', '5000', '-v'], 'mix')
  const took = [...output.matchAll(/^> \S+ \S+ \S+ ([\d.]+)$/gm)].map((match) => Number(match[1]) * 1e6)
  return [percentile(took, 50), percentile(took, 99)]
}

/** Medians by contender; rounds are interleaved, so that whatever else the machine does meets all. */
async function compare(setting: Setting, contenders: readonly Contender[], load: Load): Promise<Map<string, number>> {
  const rates = new Map(contenders.map(({ name }) => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders)
      rates.get(contender.name)?.push(await queriesPerSecond(setting, contender, load))
  }
  return new Map([...rates].map(([name, list]) => [name, median(list)]))
}

interface ServerFacts {
  readonly names: number
  readonly buildMs: number
  readonly changeMs: number
  readonly emptyMb: number
  readonly fullMb: number
}

/** What a part of the benchmark says first. Fails when it ends before, or says nothing for minutes. */
async function firstLine(child: ChildProcess, name: string): Promise<string> {
  if (child.stdout === null) throw new Error('no output')
  const ended = once(child, 'exit').then(([status]) => {
    throw new Error(`${name} ended with status ${status} and said nothing`)
  })
  const signal = AbortSignal.timeout(lineLimitMs)
  const said = once(createInterface({ input: child.stdout }), 'line', { signal })
  const [line] = (await Promise.race([said, ended])) as [string] // readline's event
  return line
}

async function startOurs(host: TestHost, words: readonly string[]): Promise<ServerFacts & { readonly pid: number }> {
  const child = startPinned(host, process.execPath, '--disable-warning=ExperimentalWarning', serverFile, ...words)
  return { ...(JSON.parse(await firstLine(child, 'server.ts')) as ServerFacts), pid: child.pid ?? 0 }
}

async function untilAnswers(setting: Setting, { name, port }: Contender): Promise<void> {
  for (let i = 0; i < 50; i++) {
    const dig = ['dig', '@127.0.0.1', '-p', String(port), '+time=1', '+tries=1', 'n1.example.test']
    if (spawnSync('nsenter', [`--net=${setting.host.path}`, ...dig]).status === 0) return
  }
  throw new Error(`${name} does not answer`)
}

type Report = (row: BenchRow) => void

function versus(report: Report, row: Pick<BenchRow, 'metric' | 'conditions'>, goal: Goal): void {
  const { ours, peer, peerName } = goal
  const known = peer !== undefined && Number.isFinite(peer)
  const ratio = known ? ours / peer : null
  const holds = ratio === null ? null : goal.least === undefined ? ratio <= (goal.most ?? 0) : ratio >= goal.least
  const text = goal.least === undefined ? `ratio <= ${goal.most}` : `ratio >= ${goal.least}`
  report({ bench: 'dns', ...row, ours, peer: known ? peer : null, peerName, ratio, goal: text, holds })
}

interface Goal {
  readonly ours: number
  readonly peer: number | undefined
  readonly peerName: string
  readonly least?: number
  readonly most?: number
}

/** Ours, with the zones of {@link smallSize}: as it is, and without koffi. */
async function startBoth({ host }: Setting): Promise<{ readonly ours: Contender; readonly dgram: Contender }> {
  const size = [String(smallSize.services), String(smallSize.tasksEach)]
  const { pid } = await startOurs(host, ['5301', 'hot', ...size])
  const fallback = await startOurs(host, ['5303', 'dgram', ...size])
  return { ours: { name: 'weft', port: 5301, pid }, dgram: { name: 'weft dgram', port: 5303, pid: fallback.pid } }
}

async function authoritative(setting: Setting, knot: Contender | undefined, report: Report): Promise<void> {
  const { ours, dgram } = await startBoth(setting)
  const peers = knot === undefined ? [] : [knot]
  const echo = startEcho(setting.host, setting.folder)
  const all = {
    A: [ours, dgram, ...peers, ...(echo === undefined ? [] : [echo])],
    SRV: [ours, ...peers],
    mix: [ours, ...peers],
  }
  for (const [kind, least] of [
    ['A', 1.1],
    ['SRV', 1.2],
    ['mix', 1.2],
  ] as const) {
    const rates = await compare(setting, all[kind], { kind })
    const row = { metric: `${kind} queries/s, one core`, conditions }
    versus(report, row, { ours: rates.get('weft') ?? Number.NaN, peer: rates.get('knot'), peerName: 'knot', least })
    if (kind !== 'A') continue
    const a = rates.get('weft') ?? Number.NaN
    versus(report, row, { ours: a, peer: rates.get('C echo'), peerName: 'C recvmmsg echo', least: 0.7 })
    const fallback = { ...row, metric: 'A queries/s, plain dgram' }
    versus(report, fallback, {
      ours: rates.get('weft dgram') ?? Number.NaN,
      peer: rates.get('knot'),
      peerName: 'knot',
      least: 0.4,
    })
  }
  await others(setting, [ours, ...all.mix.slice(1)], report)
  const times = new Map<string, readonly (readonly [number, number])[]>()
  for (let round = 0; round < rounds; round++) {
    for (const contender of [ours, ...peers]) {
      times.set(contender.name, [...(times.get(contender.name) ?? []), await latency(setting, contender)])
    }
  }
  for (const [at, metric] of ['p50 µs', 'p99 µs'].entries()) {
    const of = (name: string) => median((times.get(name) ?? []).map((pair) => pair[at] ?? Number.NaN))
    const row = { metric: `${metric} at 5,000 queries/s`, conditions: 'the mix' }
    versus(report, row, { ours: of('weft'), peer: of('knot'), peerName: 'knot', most: 1 })
  }
}

async function forwarding(setting: Setting, knot: Contender, report: Report): Promise<void> {
  const { pid } = await startOurs(setting.host, ['5307', 'hot', '1', '1', String(knot.port)])
  const forwarder: Contender = { name: 'weft proxy', port: 5307, pid }
  const peers = startForwarders(setting.host, setting.folder, knot.port)
  for (const contender of [forwarder, ...peers]) await untilAnswers(setting, contender)
  const rates = await compare(setting, [forwarder, ...peers], { kind: 'foreign' })
  const row = { metric: 'cache hits/s of the proxy', conditions }
  for (const [peerName, least] of [
    ['unbound', 1.3],
    ['dnsmasq', 2.5],
  ] as const) {
    versus(report, row, { ours: rates.get(forwarder.name) ?? Number.NaN, peer: rates.get(peerName), peerName, least })
  }
}

/** The mix again: from many sockets, where no responses go out together, and beside servers that have to be unpacked. */
async function others(setting: Setting, contenders: readonly Contender[], report: Report): Promise<void> {
  const many = await compare(setting, contenders, { kind: 'mix', clients: 64 })
  const row = { metric: 'mix queries/s from 64 sockets, one core', conditions }
  const ours = many.get('weft') ?? Number.NaN
  versus(report, row, { ours, peer: many.get('knot'), peerName: 'knot', least: 1 })
  for (const peer of startUnpacked(setting.host, setting.folder)) {
    const reason = 'reason' in peer ? peer.reason : await whyNot(setting, peer)
    const pair = [...contenders.slice(0, 1), ...('reason' in peer ? [] : [peer])]
    const rates = reason === undefined ? await compare(setting, pair, { kind: 'mix' }) : new Map<string, number>()
    const metric = 'mix queries/s, one core'
    const told = { metric, conditions: reason === undefined ? conditions : `no figure: ${reason}` }
    versus(report, told, {
      ours: rates.get('weft') ?? Number.NaN,
      peer: rates.get(peer.name),
      peerName: peer.name,
      least: 1.2,
    })
  }
}

/** Why a server does not answer; `undefined`: it does. */
async function whyNot(setting: Setting, contender: Contender): Promise<string | undefined> {
  try {
    await untilAnswers(setting, contender)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'it does not answer'
  }
}

/** What test/bench/dns/faults.ts prints. */
interface ProxyFacts {
  readonly missAddsUs: number
  readonly slow: number
  readonly deadMs: number | null
  readonly staleMs: number | null
}

async function faults({ host }: Setting, knot: Contender, report: Report): Promise<void> {
  const file = fileURLToPath(new URL('./dns/faults.ts', import.meta.url))
  const child = host.start(process.execPath, '--disable-warning=ExperimentalWarning', file, String(knot.port))
  const { missAddsUs, slow, deadMs, staleMs } = JSON.parse(await firstLine(child, 'faults.ts')) as ProxyFacts
  const figure = (metric: string, ours: number | null, most: number) => {
    const none = {
      bench: 'dns',
      peer: null,
      peerName: null,
      ratio: null,
      conditions: 'proxy with 1 or 3 upstreams; misses one at a time, the first half not counted',
    }
    report({ ...none, metric, ours: ours ?? Number.NaN, goal: `ours <= ${most}`, holds: ours !== null && ours <= most })
  }
  figure('µs that a miss adds, median', missAddsUs, 100)
  figure('of 100 queries, over 100 ms, while two of three upstreams stop', slow, 0)
  figure('ms to SERVFAIL when all are dead', deadMs, 2000)
  figure('ms to a stale answer when all are dead', staleMs, 2000)
}

async function size(report: Report, goal: { readonly size: BenchSize; readonly mostMb: number }) {
  const host = makeHost('dns-size')
  try {
    const words = ['5301', 'hot', String(goal.size.services), String(goal.size.tasksEach)]
    const { names, buildMs, changeMs, emptyMb, fullMb } = await startOurs(host, words)
    const figure = (metric: string, value: number, most: number) =>
      report({
        bench: 'dns',
        metric: `${metric}, ${names} names`,
        ours: value,
        peer: null,
        peerName: null,
        ratio: null,
        goal: `ours <= ${most}`,
        holds: value <= most,
        conditions: 'whole process; names handed to the server by changes of 1,000',
      })
    figure('MB above the empty server', fullMb - emptyMb, goal.mostMb)
    figure('ms to build', buildMs, (1000 * names) / 100_000)
    figure('ms until a change is visible, median', changeMs, 10)
  } finally {
    host.remove()
  }
}

/** The DNS server beside those that Debian has. Peers that are not installed give no figure. */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  if (!hasProgram('dnsperf')) throw new Error('needs dnsperf: apt-get install dnsperf')
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  const host = makeHost('dns')
  const setting = { host, folder }
  try {
    for (const kind of ['A', 'SRV', 'mix', 'foreign'] as const)
      writeFileSync(join(folder, kind), benchQueries(kind, smallSize))
    const knot = startKnot(host, folder, smallSize)
    if (knot !== undefined) await untilAnswers(setting, knot)
    await authoritative(setting, knot, report)
    if (knot !== undefined) await forwarding(setting, knot, report)
    if (knot !== undefined) await faults(setting, knot, report)
    const cores = { metric: 'two server cores beside one', peerName: null, goal: 'ratio >= 1.7', holds: null }
    const why = 'no figure: needs a third core, for the generator, and is not written for machines that have it'
    report({ bench: 'dns', ...cores, ours: Number.NaN, peer: null, ratio: null, conditions: why })
    await size(report, { size: { services: 20_000, tasksEach: 3 }, mostMb: 60 })
    await size(report, { size: { services: 200_000, tasksEach: 3 }, mostMb: 350 })
  } finally {
    host.remove()
    rmSync(folder, { recursive: true, force: true })
  }
}
