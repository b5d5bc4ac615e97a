import { print } from '../output.ts'
import { type Fact, runCheck, sampleChecks } from './checks.ts'
import { type LocalClusterOptions, startCluster } from './cluster.ts'
import { leftovers, readFootprint } from './footprint.ts'
import { clusterDirectory } from './layout.ts'
import { deploySample, sampleTasks, sampleVipAddresses } from './sample.ts'
import { AppError } from '../../base/errors.ts'

/** Longest that a machine may take to forget what was removed: namespaces go in the background. */
const forgetLimitMs = 5_000

/** Runs the sample, checks every fact, removes everything, checks that too. @returns true when all hold */
export async function verify(options: LocalClusterOptions, output: { readonly json: boolean }): Promise<boolean> {
  const facts: Fact[] = []
  const check = async (title: string, run: () => Promise<string>) => {
    const fact = await runCheck({ title, run })
    facts.push(fact)
    if (!output.json) process.stdout.write(`${formatFact(fact)}\n`)
  }
  const directory = clusterDirectory(options.name)
  const before = readFootprint(options.name, directory)
  const cluster = await startCluster(options)
  try {
    await check('the sample is deployed and has converged on every node', async () => {
      await deploySample(cluster.api, options.agents)
      return cluster.api.url
    })
    const tasks = await sampleTasks(cluster.api)
    const vips = await sampleVipAddresses(cluster.api)
    await check('every task has an address of its own', async () =>
      uniqueAddresses(
        tasks.map(({ address }) => address),
        options.agents + 1,
      ),
    )
    for (const { title, run } of sampleChecks({ layout: cluster.layout, tasks, vips })) await check(title, run)
  } finally {
    await cluster.stop()
  }
  await check('everything is removed', () => nothingLeft(options.name, before))
  const failed = facts.filter(({ holds }) => !holds).length
  print(facts, () => `${facts.length - failed} of ${facts.length} facts hold`, output)
  return failed === 0
}

function formatFact({ title, holds, ms, detail }: Fact): string {
  const lines = detail.split('\n')
  return `${holds ? 'PASS' : 'FAIL'}  ${ms.toFixed(0).padStart(5)} ms  ${title}: ${lines.at(holds ? -1 : 0)}`
}

function uniqueAddresses(addresses: readonly string[], expected: number): string {
  const known = addresses.filter((address) => address !== '')
  if (new Set(known).size === expected && known.length === expected) return known.join(' ')
  throw new AppError('ERR_CLI_CHECK', `${expected} different addresses are wanted, there are: ${addresses.join(' ')}`)
}

async function nothingLeft(name: string, before: ReturnType<typeof readFootprint>): Promise<string> {
  const deadline = performance.now() + forgetLimitMs
  for (;;) {
    const left = leftovers(before, readFootprint(name, clusterDirectory(name)))
    if (left.length === 0) return 'no namespace, link, mount, control group or process is left'
    if (performance.now() > deadline) throw new AppError('ERR_CLI_CHECK', left.join('; '))
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
