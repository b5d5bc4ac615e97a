import { type FrameworkId } from '../../model/ids.ts'
import { type ResourceShare, wholeOfShare } from '../../model/reservation.ts'
import { isOfferable } from '../../model/resources.ts'
import { isWithin } from '../../model/role.ts'
import { type GrantPass, shareFor } from './cycle.ts'
import { type Client } from './frameworks.ts'

/** Why a framework gets no offers in a role. */
export type WaitReason =
  /** It said that it wants none. */
  | 'suppressed'
  /** It refused all that is free. */
  | 'filtered'
  /** The limits of its top-level role are used up. */
  | 'quota'
  /** No agent has anything free. */
  | 'nothing-left'
  /** What is free is reserved for other roles. */
  | 'reserved-for-others'
  /** Something is free for it: it comes with the next round. */
  | 'due'

/** A framework in one of its roles, and its last offer. */
export interface Waiting {
  readonly frameworkId: FrameworkId
  readonly role: string
  /** Monotonic: since the last offer, or since it came. */
  readonly sinceMs: number
  readonly why: WaitReason
}

/**
 * Since when frameworks got no offer, and what keeps them from one. Looked up when asked: it costs a look at each agent for
 * each framework and role, until the first that has something for it.
 */
export function explainWait(pass: GrantPass, nowMs: number, frameworkId?: FrameworkId): readonly Waiting[] {
  return [...pass.frameworks.clients(frameworkId)]
    .filter((client) => pass.frameworks.isActive(client.frameworkId))
    .map((client) => ({
      frameworkId: client.frameworkId,
      role: client.role,
      sinceMs: client.servedMs,
      why: reasonOf(pass, client, nowMs),
    }))
}

/** Frameworks and roles that want offers, and when they last got one. */
export function eagerClients({ frameworks }: GrantPass): readonly Omit<Waiting, 'why'>[] {
  return [...frameworks.clients()]
    .filter(({ suppressed, frameworkId }) => !suppressed && frameworks.isActive(frameworkId))
    .map(({ frameworkId, role, servedMs }) => ({ frameworkId, role, sinceMs: servedMs }))
}

/** From the weakest hindrance to the strongest: the weakest that is met on any agent is what keeps the client waiting. */
const hindrances: readonly WaitReason[] = ['due', 'filtered', 'quota', 'reserved-for-others', 'nothing-left']

function reasonOf(pass: GrantPass, client: Client, nowMs: number): WaitReason {
  if (client.suppressed) return 'suppressed'
  let best = hindrances.length - 1
  for (const agentId of pass.agents.ids()) {
    const agent = pass.agents.get(agentId)
    if (agent === undefined || !agent.active) continue
    const share = shareFor(agent.available, pass.quotas, client.role)
    const isBlocked = share !== undefined && pass.filters.blocks({ client: client.key, agentId, share }, nowMs)
    const here = share === undefined ? withoutShare(agent.available, client.role) : isBlocked ? 'filtered' : 'due'
    best = Math.min(best, hindrances.indexOf(here))
    if (best === 0) break
  }
  return hindrances[best] ?? 'nothing-left'
}

function withoutShare({ unreserved, reserved }: ResourceShare, role: string): WaitReason {
  const own = reserved.filter((each) => isWithin(role, each.role))
  if (isOfferable(wholeOfShare({ unreserved, reserved: own }))) return 'quota'
  return isOfferable(wholeOfShare({ unreserved, reserved })) ? 'reserved-for-others' : 'nothing-left'
}
