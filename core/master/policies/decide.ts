import { AppError } from '../../base/errors.ts'
import { type NetworkName } from '../../model/ids.ts'
import { type Policy, type Selector } from '../../model/policy.ts'
import { type Decide } from '../registry/state.ts'

/** Most policies of a cluster: each is a chain on every node. */
const mostPolicies = 10_000

/**
 * Adds a policy. One that says exactly the same is there already: nothing to do.
 * @throws ERR_MASTER_POLICY_EXISTS for a name with another meaning, ERR_MASTER_POLICY_NETWORK for a network that is not
 *   there, ERR_MASTER_POLICIES_EXHAUSTED
 */
export function decideAddPolicy(policy: Policy): Decide {
  return ({ policies, networks }) => {
    const present = policies.get(policy.name)
    if (present !== undefined) {
      if (JSON.stringify(present) === JSON.stringify(policy)) return {}
      throw new AppError(
        'ERR_MASTER_POLICY_EXISTS',
        `policy "${policy.name}" is there with another meaning: remove it first, or take another name`,
      )
    }
    if (policies.size >= mostPolicies) {
      throw new AppError('ERR_MASTER_POLICIES_EXHAUSTED', `there are ${mostPolicies} policies: remove some`)
    }
    for (const field of ['from', 'to'] as const) checkNetwork(networks, field, policy[field])
    return { policies: new Map([[policy.name, policy]]) }
  }
}

function checkNetwork(networks: ReadonlyMap<NetworkName, unknown>, field: string, selector: Selector): void {
  if (selector.kind !== 'network' || networks.has(selector.network)) return
  throw new AppError('ERR_MASTER_POLICY_NETWORK', `/${field}: there is no network "${selector.network}"`)
}

/** @throws ERR_MASTER_POLICY_UNKNOWN */
export function decideRemovePolicy(name: string): Decide {
  return ({ policies }) => {
    if (!policies.has(name)) throw unknownPolicy(name)
    return { policies: new Map([[name, undefined]]) }
  }
}

/** Makes a network strict (nothing unless a policy allows it) or open. @throws ERR_MASTER_NETWORK_UNKNOWN */
export function decideIsolation(name: NetworkName, mode: 'strict' | 'open'): Decide {
  return ({ networks }) => {
    const network = networks.get(name)
    if (network === undefined) throw new AppError('ERR_MASTER_NETWORK_UNKNOWN', `there is no network "${name}"`)
    if ((network.isolated ?? 'open') === mode) return {}
    const { isolated: _, ...open } = network
    return { networks: new Map([[name, mode === 'strict' ? { ...open, isolated: 'strict' } : open]]) }
  }
}

/** The error for a policy that is not there. */
export function unknownPolicy(name: string): AppError {
  return new AppError('ERR_MASTER_POLICY_UNKNOWN', `there is no policy "${name}"`)
}
