// `npm run bench` tells the benchmarks; `npm run bench -- NAME [NAME…] [--json]` runs some. It exits with 0 when they
// ran, whatever they found: a figure of a noisy machine is no test.
import { readdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { formatTable } from '../../core/cli/output.ts'
import { type Bench, type BenchRow } from './report.ts'

const available = readdirSync(new URL('.', import.meta.url))
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length))
  .toSorted()

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
})

function figure(value: number | null): string {
  return value === null ? '-' : value.toPrecision(4)
}

function holds(value: boolean | null): string {
  return value === null ? 'unknown' : value ? 'yes' : 'NO'
}

function formatRow(row: BenchRow): readonly string[] {
  const peer = row.peerName === null ? '-' : `${figure(row.peer)} (${row.peerName})`
  return [row.bench, row.metric, figure(row.ours), peer, figure(row.ratio), row.goal, holds(row.holds), row.conditions]
}

async function runBench(name: string): Promise<readonly BenchRow[]> {
  const { run } = (await import(`./${name}.bench.ts`)) as { readonly run: Bench }
  const rows: BenchRow[] = []
  await run((row) => {
    rows.push(row)
    if (values.json) console.log(JSON.stringify(row))
  })
  return rows
}

const unknown = positionals.filter((name) => !available.includes(name))
if (positionals.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`no such benchmark: ${unknown.join(', ')}`)
  console.error(`usage: npm run bench -- NAME [NAME...] [--json]\nbenchmarks: ${available.join(', ')}`)
  process.exitCode = unknown.length > 0 ? 2 : 0
} else {
  const rows: BenchRow[] = []
  for (const name of positionals) rows.push(...(await runBench(name)))
  const head = ['bench', 'metric', 'ours', 'peer', 'ratio', 'goal', 'holds', 'conditions']
  if (!values.json) console.log(formatTable(head, rows.map(formatRow)))
}
