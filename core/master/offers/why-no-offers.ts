import { type FrameworkId } from '../../model/ids.ts'
import { type WaitReason } from '../allocator/starvation.ts'
import { type MasterContext } from '../context.ts'

/** Why a framework gets no offers in a role, and for how long. */
export interface RoleWait {
  readonly role: string
  readonly why: WaitReason
  readonly forSeconds: number
}

/** What keeps offers from a framework now. Costs a look at each agent for each of its roles. */
export function whyNoOffers(
  { allocator, clock }: Pick<MasterContext, 'allocator' | 'clock'>,
  id: FrameworkId,
): readonly RoleWait[] {
  const nowMs = clock.monotonicMs()
  return allocator.waiting(nowMs, id).map(({ role, why, sinceMs }) => {
    return { role, why, forSeconds: Math.max(0, Math.floor((nowMs - sinceMs) / 1000)) }
  })
}
