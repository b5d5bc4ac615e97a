import { noResources, type Resources } from '../../../model/resources.ts'
import { type FrameworkEntry } from '../../context.ts'
import { addLoosely, formatAmounts } from './amounts.ts'

/** What a framework has: ports are not summed over agents. */
export interface FrameworkUse {
  readonly used: Resources
  readonly offered: Resources
}

/** Sums it up. */
export function frameworkUse(parts: readonly Resources[] = [], offered: Resources = noResources): FrameworkUse {
  const used = parts.reduce((sum, part) => addLoosely(sum, { ...part, ports: [] }), noResources)
  return { used, offered }
}

/**
 * A framework as `/state` has it, without its tasks. No `pid`: frameworks that speak HTTP, or none, omit it; an empty one
 * makes Mesos-DNS reject everything. Source: reference/mesos-http-api.md, State.
 */
export function formatStateFramework({ id, info, state }: FrameworkEntry, { used, offered }: FrameworkUse) {
  return {
    id,
    name: info.name,
    user: info.user,
    roles: info.roles,
    ...(info.roles.length < 2 ? { role: info.roles[0] ?? '*' } : {}),
    ...(info.principal === undefined ? {} : { principal: info.principal }),
    hostname: info.hostname,
    webui_url: info.webuiUrl ?? '',
    capabilities: info.capabilities,
    checkpoint: info.checkpoint ?? true,
    failover_timeout: info.failoverTimeoutMs / 1000,
    active: state === 'connected',
    connected: state === 'connected',
    recovered: state === 'recovered',
    used_resources: formatAmounts(used),
    offered_resources: formatAmounts(offered),
    resources: formatAmounts(addLoosely(used, offered)),
    labels: Object.entries(info.labels ?? {}).map(([key, value]) => ({ key, value })),
  }
}
