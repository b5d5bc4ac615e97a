import { type AgentId, type FrameworkId } from '../../../model/ids.ts'
import { wholeOfShare } from '../../../model/reservation.ts'
import { noResources, type Resources } from '../../../model/resources.ts'
import { type AgentEntry, type FrameworkEntry, type MasterContext } from '../../context.ts'
import { type MasterTask } from '../../tasks/state.ts'
import { addLoosely } from './amounts.ts'
import { type Fragments } from './fragments.ts'

/** What is told of the master itself. */
export interface About {
  readonly version: string
  /** `address:port`, with brackets around IPv6. */
  readonly advertised: string
}

/** The cluster at one moment: lists of what does not change in place, so that it can be told over many turns of events. */
export interface StateView {
  readonly context: MasterContext
  readonly about: About
  readonly fragments: Fragments
  /** All but the unreachable ones. Recovered ones too: their tasks count as running, and keep their names. */
  readonly agents: readonly AgentEntry[]
  readonly frameworks: readonly FrameworkEntry[]
  readonly completed: readonly FrameworkEntry[]
  /** Tasks of each agent, of unreachable ones too. */
  readonly tasks: readonly (readonly [AgentId, readonly MasterTask[]])[]
  readonly offeredOn: ReadonlyMap<AgentId, Resources>
  readonly offeredTo: ReadonlyMap<FrameworkId, Resources>
}

/** Looks at the master now. */
export function viewState(context: MasterContext, about: About, fragments: Fragments): StateView {
  const offeredOn = new Map<AgentId, Resources>()
  const offeredTo = new Map<FrameworkId, Resources>()
  for (const { agentId, frameworkId, resources, reserved = [] } of context.offers.outstanding()) {
    const whole = wholeOfShare({ unreserved: resources, reserved })
    const known = offeredOn.get(agentId)
    offeredOn.set(agentId, known === undefined ? whole : addLoosely(known, whole))
    offeredTo.set(frameworkId, addLoosely(offeredTo.get(frameworkId) ?? noResources, { ...whole, ports: [] }))
  }
  const frameworks = [...context.frameworks.values()]
  return {
    ...{ context, about, fragments, offeredOn, offeredTo },
    agents: [...context.agents.values()].filter(({ state }) => state.kind !== 'unreachable'),
    frameworks: frameworks.filter(({ state }) => state !== 'removed'),
    completed: frameworks.filter(({ state }) => state === 'removed'),
    tasks: [...context.tasks.byAgent()],
  }
}
