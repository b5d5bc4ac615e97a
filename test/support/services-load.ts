import { type Test } from 'tap'
import { type LocalCluster } from '../../core/cli/up/cluster.ts'
import { type Answer, leastServing, startAnswers } from './answers.ts'
import { startHttpLoad } from './http-load.ts'
import { onDcos, vipOf, webApp } from './vips/stage.ts'
import { recordsOf } from '../../core/cli/up/sample.ts'

/** Where the requests come from: an agent that no test takes away. */
export const caller = 'agent1'

/** Instances that are promised. */
export const promised = 3

/** The app of these suites: one more than promised at a time, so that a deployment takes several steps. */
export function rollingApp(release: number, more: object = {}): Readonly<Record<string, unknown>> {
  const upgradeStrategy = { minimumHealthCapacity: 1, maximumOverCapacity: 0.34 }
  return { ...webApp(promised, release), networks: onDcos, upgradeStrategy, backoffSeconds: 1, ...more }
}

/** What 200 requests a second made of a VIP found. */
export interface Observed {
  /** Over connections of their own. */
  readonly answers: readonly Answer[]
  /** Ids of tasks that answered these. */
  readonly by: readonly string[]
  readonly failures: readonly Answer[]
  /** Over connections that are kept. */
  readonly kept: { readonly answered: number; readonly failures: readonly { atMs: number; why: string }[] }
}

/** Runs `work` under 200 requests a second to /web's VIP, half over new connections, half over kept ones. */
export async function underLoad(t: Test, cluster: LocalCluster, work: () => Promise<void>): Promise<Observed> {
  const { layout } = cluster
  const target = { host: await vipOf(cluster, 'web'), port: 80, perSecond: 100 }
  const answers = await startAnswers(layout, caller, target)
  const kept = await startHttpLoad(layout, caller, { ...target, connections: 'kept', connectSeconds: 5 })
  t.teardown(() => kept.end())
  try {
    await work()
  } finally {
    await answers.stop()
  }
  const failures = answers.all.filter(({ why }) => why !== undefined)
  const by = [...new Set(answers.all.flatMap(({ by }) => by ?? []))]
  return { answers: answers.all, by, failures, kept: await kept.stop() }
}

/** Nothing failed of more than `load` requests of each kind, and never fewer than promised served. */
export function assertFlawless(t: Test, what: string, { answers, failures, kept }: Observed, load = 100): void {
  t.same(failures, [], `${what}: ${answers.length} new connections, none failed`)
  t.same(kept.failures, [], `${what}: ${kept.answered} requests over kept connections, none failed`)
  t.ok(answers.length > load && kept.answered > load, `${what}: there was a load`)
  t.ok(leastServing(answers) >= promised, `${what}: at least ${leastServing(answers)} served at any time`)
}

/** A task of /web. */
export interface WebTask {
  readonly id: string
  readonly node: string
  readonly serves: boolean
}

/** The tasks of /web that have not ended. */
export async function webTasks({ api }: LocalCluster): Promise<readonly WebTask[]> {
  const tasks = await recordsOf(api, '/weft/v1/tasks', 'tasks')
  return tasks
    .filter(({ id }) => String(id).startsWith('web.'))
    .map(({ id, node, state, health }) => ({
      ...{ id: String(id), node: String(node) },
      serves: state === 'TASK_RUNNING' && health !== 'pending' && health !== 'unhealthy',
    }))
}
