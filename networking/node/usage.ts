import { type Clock } from '../../core/base/clock.ts'
import { type SubnetUsage } from '../../core/model/usage.ts'
import { type Leases } from '../ipam/leases.ts'
import { type CniView } from './cni-view.ts'

/** What {@link openUsageReporter} needs. */
export interface UsageOptions {
  readonly leases: Pick<Leases, 'usage'>
  readonly view: () => CniView
  /** Tells the masters. */
  readonly report: (usage: readonly SubnetUsage[]) => void
  readonly clock: Clock
}

/** Tells the masters how full this node's subnets are. */
export interface UsageReporter {
  /** Leases or subnets may have changed: told soon, if they have. */
  changed(): void
  close(): void
}

/** Changes within this time make one report; the first one is told at once. */
const pauseMs = 50

/**
 * Reports by event: the first change at once, so that the scheduler knows of the last address that went, later ones of a
 * burst together. A report that would say what the last one said is not sent.
 */
export function openUsageReporter({ leases, view, report, clock }: UsageOptions): UsageReporter {
  let last = ''
  let state: 'idle' | 'resting' | 'due' | 'closed' = 'idle'
  let cancel: () => void = () => undefined
  const tell = () => {
    state = 'resting'
    cancel = clock.after(pauseMs, () => {
      if (state === 'due') tell()
      else if (state === 'resting') state = 'idle'
    })
    const usage = readUsage(leases, view())
    const text = JSON.stringify(usage)
    if (text === last) return
    last = text
    report(usage)
  }
  return {
    changed: () => {
      if (state === 'idle') tell()
      else if (state === 'resting') state = 'due'
    },
    close: () => {
      state = 'closed'
      cancel()
    },
  }
}

/** Counts all subnets that this node has. Only networks that it has a part of. */
export function readUsage(leases: Pick<Leases, 'usage'>, { networks }: CniView): readonly SubnetUsage[] {
  return [...networks].flatMap(([network, { subnets }]) =>
    subnets.map((subnet) => {
      const { used, resting, free } = leases.usage(subnet)
      return { network, subnet, used, resting, free: Number(minimum(free, BigInt(Number.MAX_SAFE_INTEGER))) }
    }),
  )
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}

/** The same leases; `onChange` is called after each change, and after a try that found none free. */
export function observedLeases(leases: Leases, onChange: () => void): Leases {
  const observed = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } finally {
      onChange()
    }
  }
  return {
    ...leases,
    allocate: (request) => observed(leases.allocate(request)),
    begin: (request) => {
      try {
        return leases.begin(request)
      } finally {
        onChange()
      }
    },
    release: (key) => observed(leases.release(key)),
  }
}
