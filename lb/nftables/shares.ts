import { type VipScheduler } from '../../core/model/vip.ts'
import { type RealServer, type VirtualServer } from '../dataplane.ts'

/** How a chain chooses a slot: at random, each in its turn, or by the client's address. */
export type PickMethod = 'random' | 'turn' | 'source'

/** A chain that chooses among `size` slots. */
export interface Pick {
  readonly method: PickMethod
  readonly size: number
}

/** What each scheduler of IPVS comes to here, where nobody counts connections. Source of what heeds weights: ipvsadm(8). */
const methods: Readonly<Record<VipScheduler, { readonly method: PickMethod; readonly weights: 'heeded' | 'equal' }>> = {
  wlc: { method: 'random', weights: 'heeded' },
  lc: { method: 'random', weights: 'equal' },
  rr: { method: 'turn', weights: 'equal' },
  wrr: { method: 'turn', weights: 'heeded' },
  sh: { method: 'source', weights: 'heeded' },
  mh: { method: 'source', weights: 'heeded' },
}

/** Over this many slots of one server, weights are made coarser; each backend keeps one slot at least. */
const slotsAtMost = 128

/** How a virtual server chooses, and the backend that is in each slot: none when no backend has a weight over 0. */
export interface Shares extends Pick {
  readonly slots: readonly RealServer[]
}

/** Slots repeated by weight, the weights divided by what they have in common. */
export function sharesOf({ scheduler = 'wlc', backends }: VirtualServer): Shares {
  const { method, weights } = methods[scheduler]
  const active = backends.filter(({ weight }) => weight > 0)
  const equal = weights === 'equal' || active.every(({ weight }) => weight === active[0]?.weight)
  const slots = equal ? active : spread(active)
  return { method, size: slots.length, slots }
}

/** In rounds, each with those that still have something left: turns of a heavy backend are not all at once. */
function spread(active: readonly RealServer[]): readonly RealServer[] {
  const counts = slotCounts(active.map(({ weight }) => weight))
  const rounds = Array.from({ length: Math.max(...counts) }, (_, round) => round)
  return rounds.flatMap((round) => active.filter((_, i) => (counts[i] ?? 0) > round))
}

function slotCounts(weights: readonly number[]): readonly number[] {
  const sum = weights.reduce((a, b) => a + b, 0)
  const scale = Math.min(1, slotsAtMost / sum)
  const reduced = reduce(weights)
  if (reduced.reduce((a, b) => a + b, 0) <= slotsAtMost) return reduced
  return reduce(weights.map((weight) => Math.max(1, Math.floor(weight * scale))))
}

function reduce(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor)
  return weights.map((weight) => weight / divisor)
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

/** The scheduler that has this method and these weights: what a reader of the kernel can tell. wlc is told by absence. */
export function schedulerOf(
  method: PickMethod,
  backends: readonly RealServer[],
): { readonly scheduler?: VipScheduler } {
  if (method === 'random') return {}
  if (method === 'source') return { scheduler: 'sh' }
  return { scheduler: backends.some(({ weight }) => weight > 1) ? 'wrr' : 'rr' }
}
