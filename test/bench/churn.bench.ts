import { type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleepMs } from 'node:timers/promises'
import { parseIp } from '../../core/base/ip.ts'
import { parseAgentId, parseNodeName, parseTaskId, type TaskId } from '../../core/model/ids.ts'
import { type RunningTask } from '../../core/model/snapshot.ts'
import { leaderServices, openGrpcServer } from '../../core/master/grpc/server.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { makeHost, makeSegment, type TestHost } from '../support/hosts.ts'
import { startMaster, type TestMaster, until } from '../support/master.ts'
import { repositoryRoot } from '../support/tree.ts'
import { type Bench, median, percentile } from './report.ts'

const tasks = 1_000
const tickMs = 10
const changesPerTick = 10
const seconds = Number(process.env['WEFT_CHURN_SECONDS'] ?? 60)
const goalMs = 100
const nodeName = parseNodeName('node1')
const canary = parseTaskId('canary.0')

function task(id: TaskId, name: string, address: string): RunningTask {
  return {
    id,
    name,
    framework: 'marathon',
    node: nodeName,
    agentId: parseAgentId('00000000-S1'),
    state: 'TASK_RUNNING',
    health: 'unchecked',
    networks: [{ name: 'dcos', addresses: [parseIp(address)] }],
    portMappings: [],
    ports: [],
  }
}

/** The number is in the address's last two octets: that is how a prober tells which change it sees. */
const numbered = (number: number) => `10.81.${(number >> 8) & 0xff}.${number & 0xff}`

function startNet(host: TestHost, master: string, directory: string): ChildProcess {
  const main = join(repositoryRoot, 'networking/node/main.ts')
  const options = {
    'state-dir': join(directory, 'net'),
    socket: join(directory, 'cni.sock'),
    'cni-conf-dir': join(directory, 'cni'),
  }
  const place = { 'node-name': nodeName, underlay: '198.18.0.1', 'underlay-device': 'eth0', master, upstreams: 'none' }
  const words = Object.entries({ ...options, ...place, 'log-level': 'error' }).flatMap(([key, value]) => [
    `--${key}`,
    value,
  ])
  return host.start(
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    '--max-semi-space-size=1',
    main,
    ...words,
  )
}

/** Edits the snapshot at the wanted rate. @returns when each number of the canary was set, ms since the epoch */
async function churn({ context: { keeper } }: TestMaster): Promise<ReadonlyMap<number, number>> {
  const setAt = new Map<number, number>()
  const started = performance.now()
  for (let tick = 1; tick * tickMs <= seconds * 1000; tick++) {
    await sleepMs(Math.max(0, started + tick * tickMs - performance.now()))
    for (let i = 0; i < changesPerTick - 1; i++) {
      const index = (tick * changesPerTick + i) % tasks
      const id = parseTaskId(`task${index}.0`)
      keeper.tasks.set(id, task(id, `task${index}`, numbered((tick + index) & 0xffff)))
    }
    setAt.set(tick & 0xffff, performance.timeOrigin + performance.now())
    keeper.tasks.set(canary, task(canary, 'canary', numbered(tick & 0xffff)))
  }
  return setAt
}

function residentMb(pid: number | undefined): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1000
}

async function measure(host: TestHost, master: TestMaster, directory: string) {
  const path = `unix:${join(directory, 'master.sock')}`
  const grpc = await openGrpcServer(leaderServices(master.context), path)
  const net = startNet(host, path, directory)
  try {
    for (let i = 0; i < tasks; i++) {
      const id = parseTaskId(`task${i}.0`)
      master.context.keeper.tasks.set(id, task(id, `task${i}`, numbered(i)))
    }
    await until(() => master.context.progress.of(nodeName).appliedVersion > 0, 'the node daemon programs something')
    const rssBefore = residentMb(net.pid)
    const prober = host.start(
      process.execPath,
      join(repositoryRoot, 'test/support/lag-prober.ts'),
      'canary.marathon.mesos',
      String(seconds + 2),
    )
    const chunks: Buffer[] = []
    prober.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
    const ended = new Promise((resolve) => prober.once('close', resolve))
    await sleepMs(500)
    const setAt = await churn(master)
    await ended
    const seen = JSON.parse(Buffer.concat(chunks).toString()) as readonly (readonly [number, number])[]
    const lags = seen.flatMap(([number, at]) => (setAt.has(number) ? [at - (setAt.get(number) ?? 0)] : []))
    return { lags, rssBefore, rssAfter: residentMb(net.pid) }
  } finally {
    const ended = once(net, 'exit')
    net.kill('SIGTERM')
    await ended
    grpc.close()
  }
}

/** 1,000 changes a second: how long after a change its name has the new address on a node. */
export const run: Bench = async (report) => {
  const segment = makeSegment('churn')
  const host = makeHost('churn')
  const directory = mkdtempSync(join(tmpdir(), 'weft-churn-'))
  const master = await startMaster(openMemoryStore())
  try {
    segment.plug(host, 'eth0', '198.18.0.1/16')
    const { lags, rssBefore, rssAfter } = await measure(host, master, directory)
    const conditions = `${seconds} s at ${(changesPerTick * 1000) / tickMs} changes/s over ${tasks} tasks, real node daemon, ${lags.length} changes seen; asked in a tight loop on the same two cores`
    const base = { bench: 'churn', peer: null, peerName: null, ratio: null, conditions }
    const row = (metric: string, ours: number, goal: number) =>
      report({ ...base, metric, ours, goal: `ours <= ${goal}`, holds: ours <= goal })
    row('ms from a change to its answer, median', median(lags), goalMs)
    row('ms from a change to its answer, p99', percentile(lags, 99), goalMs)
    row('memory of the daemon after ÷ before', rssAfter / rssBefore, 1.5)
  } finally {
    await master.crash()
    host.remove()
    segment.host.remove()
    rmSync(directory, { recursive: true, force: true })
  }
}
