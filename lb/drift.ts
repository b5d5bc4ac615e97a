import { type Clock } from '../core/base/clock.ts'
import { errorMessage } from '../core/base/errors.ts'
import { type Logger } from '../core/base/log.ts'

/** What noticing changes by others needs. */
export interface LbDriftOptions {
  /** Quick looks by name; true: somebody changed something. */
  readonly looks: Readonly<Record<string, (options: { readonly signal: AbortSignal }) => Promise<boolean>>>
  /** All is to be compared with the kernel. */
  readonly onDrift: () => void
  /** How much audits have repaired since the start. */
  readonly repaired: () => number
  readonly clock: Clock
  readonly log: Logger
}

/** Time between two looks, in milliseconds; more where they take long: about one twentieth of the processor is for them. */
const pacing = { everyMs: 250, restPerCost: 19 } as const

/**
 * Least time between two reports: doubled each time that an audit found nothing of ours changed, up to the most, which is that
 * of the timed audit. Others who change their own nftables all the time thus cost no more than the timed audit does.
 */
const spacing = { firstMs: 250, mostMs: 30_000 } as const

/** Looks until the signal aborts: what others did to routes, IPVS or nftables is reported within a second. */
export async function watchLbDrift(
  options: LbDriftOptions,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const { clock } = options
  const report = openReport(options)
  const costs: number[] = []
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs()
    for (const [name, look] of Object.entries(options.looks))
      if (await tryLook(options, { name, look, signal })) report.add(name)
    report.send()
    // The least of some: what else the machine does is not the look's cost.
    costs.push(clock.monotonicMs() - startedMs)
    if (costs.length > 8) costs.shift()
    const restMs = Math.max(pacing.everyMs, Math.min(...costs) * pacing.restPerCost)
    await clock.sleep(restMs, { signal }).catch(() => undefined) // aborted: the loop ends
  }
}

interface Look {
  readonly name: string
  readonly look: LbDriftOptions['looks'][string]
  readonly signal: AbortSignal
}

async function tryLook({ log }: LbDriftOptions, { name, look, signal }: Look): Promise<boolean> {
  try {
    return await look({ signal })
  } catch (error) {
    if (!signal.aborted)
      log.debug({ name, reason: errorMessage(error) }, 'a quick look failed; the timed audit goes on')
    return false
  }
}

function openReport({ onDrift, repaired, clock, log }: LbDriftOptions) {
  const waiting = new Set<string>()
  let [lastMs, lastRepaired] = [Number.NEGATIVE_INFINITY, 0]
  let spacingMs: number = spacing.firstMs
  return {
    add: (name: string) => waiting.add(name),
    send: () => {
      const nowMs = clock.monotonicMs()
      if (repaired() > lastRepaired) spacingMs = spacing.firstMs
      if (waiting.size === 0 || nowMs - lastMs < spacingMs) return
      log.info({ changed: [...waiting] }, 'the kernel was changed by others: comparing')
      waiting.clear()
      spacingMs = Math.min(spacing.mostMs, spacingMs * 2)
      lastMs = nowMs
      lastRepaired = repaired()
      onDrift()
    },
  }
}
