import { type NftOp } from '../networking/nft/ops.ts'
import { planElements } from '../networking/nft/plan.ts'

/** An element of one of our sets; `value` is empty but in a map. */
export interface LbElement {
  readonly set: string
  readonly key: string
  readonly value: string
}

/** Elements of sets, counted, because several virtual servers share a VIP's address or a backend's. By set, then key. */
export type CountedElements = Map<string, Map<string, CountedValue>>

interface CountedValue {
  readonly value: string
  readonly count: number
}

/** The elements that a change touched, as they were before it (undefined: absent). */
export type TouchedElements = Map<string, Map<string, string | undefined>>

/** One more, or one less, that wants the element. */
export function countElement(
  elements: CountedElements,
  touched: TouchedElements,
  { element, step }: { readonly element: LbElement; readonly step: 1 | -1 },
): void {
  const { set, key, value } = element
  const counts = elements.get(set) ?? new Map<string, CountedValue>()
  elements.set(set, counts)
  const present = counts.get(key)
  const keys = touched.get(set) ?? new Map<string, string | undefined>()
  touched.set(set, keys)
  if (!keys.has(key)) keys.set(key, present?.value)
  const next = (present?.count ?? 0) + step
  if (next <= 0) counts.delete(key)
  else counts.set(key, { value: step > 0 ? value : (present?.value ?? value), count: next })
}

/** What was there before the first touch, against what is there now. */
export function planTouched(elements: CountedElements, touched: TouchedElements): readonly NftOp[] {
  return [...touched].flatMap(([set, keys]) => {
    const before = new Map<string, string>()
    const after = new Map<string, string>()
    for (const [key, value] of keys) {
      if (value !== undefined) before.set(key, value)
      const now = elements.get(set)?.get(key)
      if (now !== undefined) after.set(key, now.value)
    }
    return planElements(set, after, before)
  })
}

/** The elements of one set, without counts. */
export function elementsOf(elements: CountedElements, set: string): ReadonlyMap<string, string> {
  return new Map([...(elements.get(set) ?? [])].map(([key, { value }]) => [key, value]))
}
