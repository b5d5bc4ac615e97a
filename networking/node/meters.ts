import { AppError } from '../../core/base/errors.ts'
import { type MetricFamily, openTally, openTimes, type Tally, type Times } from '../../core/base/metrics.ts'
import { type ConntrackTable } from '../netlink/conntrack.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { type Nft } from '../nft/nft.ts'
import { type Asker } from '../probe/asker.ts'
import { type CniHandler } from './cni-server.ts'
import { type PipelineObserver } from './pipeline.ts'

/** What the daemon counts from its start. Names and meaning: networking/README.md, "Metrics". */
export interface Meters {
  readonly rounds: Times
  readonly steps: Times
  readonly operations: Tally
  readonly repairs: Tally
  readonly failures: Tally
  readonly calls: Times
  readonly forgotten: Tally
  readonly resyncs: Tally
  readonly probes: Tally
}

/** Opens them at nothing. */
export function openMeters(): Meters {
  return {
    rounds: openTimes('net_round_seconds', 'Rounds that programmed a version or audited, by kind and result'),
    steps: openTimes('net_step_seconds', 'What one stage of a round took'),
    operations: openTally('net_operations_total', 'Operations on the kernel, by kind and result'),
    repairs: openTally('net_repairs_total', 'Operations that audits needed, by stage'),
    failures: openTally('net_failures_total', 'Failures of stages, by code'),
    calls: openTimes('cni_call_seconds', 'Calls of the CNI plugin, by command and result'),
    forgotten: openTally('net_conntrack_deletions_total', 'Connections that conntrack was made to forget'),
    resyncs: openTally('net_netlink_resyncs_total', 'Times that kernel notifications were lost and all was read again'),
    probes: openTally('lb_peer_probes_total', 'Probes of nodes that carry backends, by result'),
  }
}

/** All of them, for the metrics page. */
export function meterFamilies(meters: Meters): readonly MetricFamily[] {
  return Object.values(meters).map((meter: Tally | Times) => meter.family())
}

/** Times rounds and stages, counts repairs and failures, and remembers the last version that was wholly programmed. */
export function watchPipeline({ rounds, steps, repairs, failures }: Meters): PipelineWatch {
  let applied = 0
  let repaired = 0
  const observer: PipelineObserver = {
    step: ({ stage, step, seconds, error }) => {
      steps.observe({ stage, step }, seconds)
      for (const code of error === undefined ? [] : codesOf(error)) failures.add({ stage, code })
    },
    round: ({ kind, seconds, result, version, repairs: found }) => {
      if (result === 'ok') applied = version
      repaired += found.length
      rounds.observe({ kind, result }, seconds)
      for (const { stage } of found) repairs.add({ stage })
    },
  }
  return { observer, appliedVersion: () => applied, repaired: () => repaired }
}

/** What a pipeline is given, and what it then says. */
export interface PipelineWatch {
  readonly observer: PipelineObserver
  appliedVersion(): number
  /** Operations that audits needed, since the start. */
  repaired(): number
}

function codesOf(error: unknown): readonly string[] {
  if (error instanceof AggregateError) return error.errors.flatMap(codesOf)
  return [error instanceof AppError ? error.code : 'unknown']
}

/** Counts what transactions hold. */
export function meteredNft(nft: Nft, { operations }: Meters): Nft {
  return {
    ...nft,
    apply: async (transaction, options) => {
      const tell = (result: 'ok' | 'failed') => {
        for (const op of transaction.ops) {
          operations.add({ kind: `nft.${op.kind}`, result }, 'elements' in op ? op.elements.length : 1)
        }
      }
      try {
        await nft.apply(transaction, options)
        tell('ok')
      } catch (error) {
        tell('failed')
        throw error
      }
    },
  }
}

/** Counts requests, by what became of each. */
export function meteredRoutes(routes: RouteSocket, { operations }: Meters): RouteSocket {
  return {
    ...routes,
    perform: async (ops) => {
      const outcomes = await routes.perform(ops)
      for (const [i, { kind }] of ops.entries()) {
        operations.add({ kind, result: outcomes[i]?.ok === false ? 'failed' : 'ok' })
      }
      return outcomes
    },
  }
}

/** Counts connections that were forgotten. */
export function meteredConntrack(table: ConntrackTable, { forgotten }: Meters): ConntrackTable {
  return {
    ...table,
    forget: async (filter, also) => {
      const count = await (also === undefined ? table.forget(filter) : table.forget(filter, also))
      if (count > 0) forgotten.add({}, count)
      return count
    },
  }
}

/** Counts probes of peers that carry backends. */
export function meteredAsker(asker: Asker, { probes }: Meters): Asker {
  return {
    ask: async (address, octets, options) => {
      const result = await asker.ask(address, octets, options)
      probes.add({ result })
      return result
    },
  }
}

/** CNI_COMMAND is the caller's text: others than the known ones are one. */
const commands = new Set(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'])

/** Times calls; the result of one that was refused is its CNI code. */
export function meteredCni(handler: CniHandler, { calls }: Meters): CniHandler {
  return async (call, options) => {
    const startedMs = performance.now()
    const answer = await handler(call, options)
    const command = call.env['CNI_COMMAND'] ?? ''
    const code = /"code":\s*(\d{1,3})\b/.exec(answer.stdout)?.[1] ?? 'unknown'
    const labels = { command: commands.has(command) ? command : 'other', result: answer.exitCode === 0 ? 'ok' : code }
    calls.observe(labels, (performance.now() - startedMs) / 1000)
    return answer
  }
}
