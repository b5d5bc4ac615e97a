import { readFileSync } from 'node:fs'
import { readClusterRecord } from '../../core/cli/up/record.ts'
import { startCluster } from '../../core/cli/up/cluster.ts'
import { sampleChecks, runCheck } from '../../core/cli/up/checks.ts'
import { deploySample, sampleTasks, sampleVipAddresses } from '../../core/cli/up/sample.ts'
import { sampleNetworks } from '../../core/cli/sample/apps.ts'
import { type Bench, type BenchRow, median } from './report.ts'

const repetitions = 3
const goals = { seconds: 5, rssMb: 90 } as const

interface Start {
  readonly seconds: number
  readonly rssMb: ReadonlyMap<string, number>
}

/** Resident memory of a process in MB, proc(5) status VmRSS. */
function residentMb(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(match?.[1] ?? Number.NaN) / 1000
}

async function startOnce(name: string): Promise<Start> {
  const started = performance.now()
  const options = { name, agents: 3, port: 0, networks: sampleNetworks, progress: () => undefined }
  const cluster = await startCluster(options)
  try {
    await deploySample(cluster.api, 3)
    const facts = {
      layout: cluster.layout,
      tasks: await sampleTasks(cluster.api),
      vips: await sampleVipAddresses(cluster.api),
    }
    const check = sampleChecks(facts).find(({ title }) => title.includes('answers by its name'))
    if (check === undefined || !(await runCheck(check)).holds) throw new Error('the VIP does not answer')
    const seconds = (performance.now() - started) / 1000
    const processes = readClusterRecord(name)?.processes ?? []
    const kinds = ['master', 'agent', 'net'].map((kind) => {
      const sizes = processes.filter((process) => process.name.endsWith(`/${kind}`)).map(({ pid }) => residentMb(pid))
      return [kind, Math.max(...sizes)] as const
    })
    return { seconds, rssMb: new Map(kinds) }
  } finally {
    await cluster.stop()
  }
}

/** Wall time of a start with 3 agents until the sample's VIP answers by name, and what the processes weigh then. */
export const run: Bench = async (report) => {
  const starts: Start[] = []
  for (let i = 0; i < repetitions; i++) starts.push(await startOnce(`bench-${process.pid}-${i}`))
  const row = (metric: string, ours: number, goal: number): BenchRow => ({
    bench: 'start',
    metric,
    ours,
    peer: null,
    peerName: null,
    ratio: null,
    goal: `ours <= ${goal}`,
    holds: ours <= goal,
    conditions: `3 agents, median of ${repetitions} starts, packages installed`,
  })
  report(row('seconds until the VIP answers by name', median(starts.map(({ seconds }) => seconds)), goals.seconds))
  for (const kind of ['master', 'agent', 'net']) {
    report(
      row(
        `RSS of ${kind} in MB (largest)`,
        median(starts.map(({ rssMb }) => rssMb.get(kind) ?? Number.NaN)),
        goals.rssMb,
      ),
    )
  }
}
