import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseIp } from '../../../core/base/ip.ts'
import { type DataPlane, type LbOp, type VirtualServer } from '../../../lb/dataplane.ts'
import { type BenchRow, median, percentile } from '../report.ts'

const { signal } = new AbortController()

/** How many virtual servers, with three backends each. */
export const serverCount = 10_000
const rounds = 3
const conditions = `${serverCount} VIPs x 3 backends`

/** Virtual server `i`, with backends of a generation: another one has others. */
export function benchServer(i: number, generation = 0): VirtualServer {
  const backends = [0, 1, 2].map((j) => ({
    address: parseIp(`10.${80 + j}.${i >> 8}.${i & 255}`),
    port: j === 2 ? 8080 + generation : 8080,
    weight: 1,
  }))
  return { address: parseIp(`100.96.${i >> 8}.${i & 255}`), port: 80, protocol: 'tcp', backends }
}

const ensure = (server: VirtualServer): LbOp => ({ kind: 'server.ensure', server })

/** What one data plane is measured with. */
export interface Subject {
  readonly name: 'ipvs' | 'nftables'
  /** A data plane on an empty kernel. */
  open(): Promise<DataPlane>
  /** The same table by the peer's means on an empty kernel. @returns milliseconds */
  peer?(folder: string): number
  readonly peerName: string
  readonly goal: { readonly ratio: number; readonly changeMs: number }
}

/** All from nothing beside the peer; one backend changed; a stream of changes. */
export async function measure(subject: Subject, folder: string, report: (row: BenchRow) => void): Promise<void> {
  const servers = Array.from({ length: serverCount }, (_, i) => benchServer(i))
  const [ours, peers]: [number[], number[]] = [[], []]
  let plane: DataPlane | undefined
  for (let round = 0; round < rounds; round++) {
    plane?.close()
    plane = await subject.open()
    await plane.repair([], { signal })
    const start = performance.now()
    await plane.apply(servers.map(ensure), { signal })
    ours.push(performance.now() - start)
    if (subject.peer !== undefined) peers.push(subject.peer(folder))
  }
  if (plane === undefined) return
  reportWhole(subject, { ours: Math.min(...ours), peer: peers.length === 0 ? null : Math.min(...peers) }, report)
  await measureChange(subject, plane, report)
  await measureStream(subject, plane, report)
  plane.close()
}

interface Figures {
  readonly ours: number
  readonly peer: number | null
}

function reportWhole(
  { name, peerName, goal }: Subject,
  { ours, peer }: Figures,
  report: (row: BenchRow) => void,
): void {
  const ratio = peer === null ? null : peer / ours
  report({
    ...{ bench: 'lb', metric: `${name}: all from nothing, ms`, ours, peer, peerName, ratio: ratio && 1 / ratio },
    goal: `peer / ours >= ${goal.ratio.toFixed(2)}`,
    holds: ratio === null ? null : ratio >= goal.ratio,
    conditions: `${conditions}, best of ${rounds}`,
  })
}

async function measureChange(
  { name, goal }: Subject,
  plane: DataPlane,
  report: (row: BenchRow) => void,
): Promise<void> {
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    const start = performance.now()
    await plane.apply([ensure(benchServer(i * 37, 1))], { signal })
    times.push(performance.now() - start)
  }
  const ours = median(times)
  report({
    ...{ bench: 'lb', metric: `${name}: one backend changed, ms`, ours, peer: null, peerName: null, ratio: null },
    ...{ goal: `ours <= ${goal.changeMs}`, holds: ours <= goal.changeMs, conditions: `${conditions}, median of 200` },
  })
}

/** 1,000 changes a second, those that are due applied together, as the pipeline coalesces them. */
async function measureStream({ name }: Subject, plane: DataPlane, report: (row: BenchRow) => void): Promise<void> {
  const seconds = process.env['WEFT_LONG'] === '1' ? 60 : 10
  const lags: number[] = []
  const [heap, cpu, start] = [process.memoryUsage().rss, process.cpuUsage(), performance.now()]
  for (let done = 0; done < seconds * 1000; ) {
    const due = Math.min(seconds * 1000, Math.floor(performance.now() - start) + 1)
    const ops = new Map<number, LbOp>()
    for (let i = done; i < due; i++)
      ops.set((i * 7919) % serverCount, ensure(benchServer((i * 7919) % serverCount, i & 63)))
    if (due > done) await plane.apply([...ops.values()], { signal })
    for (let i = done; i < due; i++) lags.push(performance.now() - start - i)
    done = due
    await new Promise((resolve) => setTimeout(resolve, 1)) // the rate is what is measured with
  }
  const { user, system } = process.cpuUsage(cpu)
  const worst = percentile(lags, 99)
  const common = { bench: 'lb', peer: null, peerName: null, ratio: null, conditions: `${conditions}, ${seconds} s` }
  report({
    ...{ ...common, metric: `${name}: 1,000 changes/s, lag p99, ms`, ours: worst },
    ...{ goal: 'ours <= 100', holds: worst <= 100 },
  })
  const grown = (process.memoryUsage().rss - heap) / 1e6
  report({
    ...{ ...common, metric: `${name}: 1,000 changes/s, memory, MB`, ours: grown },
    ...{ goal: 'ours <= 64', holds: grown <= 64 },
  })
  const share = ((user + system) / 1e6 / seconds) * 100
  report({ ...common, metric: `${name}: 1,000 changes/s, CPU, %`, ours: share, goal: 'told', holds: null })
}

/** The table as `ipvsadm --restore` takes it. */
export function writeIpvsadm(folder: string): string {
  const lines = Array.from({ length: serverCount }, (_, i) => benchServer(i)).flatMap(({ address, port, backends }) => [
    `-A -t ${address}:${port} -s wlc`,
    ...backends.map((one) => `-a -t ${address}:${port} -r ${one.address}:${one.port} -m -w 1`),
  ])
  const file = join(folder, 'ipvsadm')
  writeFileSync(file, `${lines.join('\n')}\n`)
  return file
}
