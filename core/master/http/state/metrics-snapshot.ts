import { loadavg, totalmem, freemem, cpus } from 'node:os'
import { sumResources, type Resources } from '../../../model/resources.ts'
import { type TaskState } from '../../../model/task.ts'
import { type MasterContext } from '../../context.ts'
import { isActive } from './documents.ts'

/**
 * `/metrics/snapshot`: the figures that clients of Mesos read, by Mesos's names. Source: mesos, docs/monitoring.md. Task states
 * are counted by agent and kept, so that a poll costs a look at each agent.
 */
export function metricsSnapshot(context: MasterContext, { counts }: { readonly counts: StateCounts }) {
  const { agents, frameworks, tasks, counters, offers, clock, openedMs, allocator } = context
  const entries = [...agents.values()]
  const states = counts.all(context)
  const count = (...of: readonly TaskState[]) => of.reduce((sum, state) => sum + (states.get(state) ?? 0), 0)
  const connected = entries.filter(({ state }) => state.kind === 'connected')
  const known = [...frameworks.values()].filter(({ state }) => state !== 'removed')
  const subscribed = known.filter(({ state }) => state === 'connected').length
  const uptimeS = (clock.monotonicMs() - openedMs) / 1000
  const there = entries.filter(({ state }) => state.kind !== 'unreachable')
  const [load1 = 0, load5 = 0, load15 = 0] = loadavg()
  return {
    ...amounts(
      there.map(({ record }) => record.total),
      there.map(({ record }) => allocator.available(record.id)),
    ),
    'master/elected': 1,
    'master/uptime_secs': uptimeS,
    'master/slaves_active': entries.filter(isActive).length,
    'master/slaves_inactive': connected.length - connected.filter(isActive).length,
    'master/slaves_connected': connected.length,
    'master/slaves_disconnected': there.length - connected.length,
    'master/slaves_unreachable': entries.length - there.length,
    'master/slave_registrations': counters.registrations,
    'master/slave_removals': counters.unreachable,
    'master/frameworks_active': subscribed,
    'master/frameworks_connected': subscribed,
    'master/frameworks_disconnected': known.length - subscribed,
    'master/frameworks_inactive': known.length - subscribed,
    'master/outstanding_offers': [...offers.outstanding()].length,
    'master/tasks_staging': count('TASK_STAGING'),
    'master/tasks_starting': count('TASK_STARTING'),
    'master/tasks_running': count('TASK_RUNNING'),
    'master/tasks_killing': count('TASK_KILLING'),
    'master/tasks_unreachable': count('TASK_UNREACHABLE'),
    'master/tasks': tasks.size,
    'master/messages_status_update': counters.taskUpdates,
    'master/valid_status_updates': counters.taskUpdates,
    'master/offers_sent': counters.offersMade,
    'master/tasks_launched': counters.launches,
    'master/dropped_messages': counters.refusals,
    'registrar/log/recovered': 1,
    'system/cpus_total': cpus().length,
    'system/load_1min': load1,
    'system/load_5min': load5,
    'system/load_15min': load15,
    'system/mem_total_bytes': totalmem(),
    'system/mem_free_bytes': freemem(),
  }
}

function amounts(totals: readonly Resources[], free: readonly Resources[]) {
  const all = sumResources(totals.map((total) => ({ ...total, ports: [] })))
  const left = sumResources(free.map((available) => ({ ...available, ports: [] })))
  const three = (name: string, total: number, used: number) => ({
    [`master/${name}_total`]: total,
    [`master/${name}_used`]: used,
    [`master/${name}_percent`]: total === 0 ? 0 : used / total,
  })
  return {
    ...three('cpus', all.cpuMillis / 1000, (all.cpuMillis - left.cpuMillis) / 1000),
    ...three('mem', all.memMb, all.memMb - left.memMb),
    ...three('disk', all.diskMb, all.diskMb - left.diskMb),
    ...three('gpus', 0, 0),
  }
}

/** How many tasks are in which state. */
export interface StateCounts {
  all(context: MasterContext): ReadonlyMap<TaskState, number>
}

/** Counts anew only what has changed since it was asked last. */
export function openStateCounts(): StateCounts {
  const kept = new WeakMap<object, ReadonlyMap<TaskState, number>>()
  return {
    all: ({ tasks }) => {
      const sum = new Map<TaskState, number>()
      for (const list of tasks.byAgent().values()) {
        let counts = kept.get(list)
        if (counts === undefined) {
          const made = new Map<TaskState, number>()
          for (const { status } of list) made.set(status.state, (made.get(status.state) ?? 0) + 1)
          kept.set(list, made)
          counts = made
        }
        for (const [state, n] of counts) sum.set(state, (sum.get(state) ?? 0) + n)
      }
      return sum
    },
  }
}
