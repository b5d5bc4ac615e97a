import { shareOf } from '../../../model/reservation.ts'
import { type Resources } from '../../../model/resources.ts'
import { lifeOf } from '../../agents/decide-life.ts'
import { type AgentEntry } from '../../context.ts'
import { type AgentRecord, type DrainRecord } from '../../registry/state.ts'
import { formatAmounts, formatReserved, without } from './amounts.ts'

/** Port of agents that don't tell one: clients parse it and rarely call. Source: mesos, the default port of an agent. */
export const defaultAgentPort = 5051

/** How much of an agent is with whom. */
export interface AgentUse {
  readonly available: Resources
  readonly offered: Resources
}

/** `slave(1)@address:port`, brackets around IPv6. */
export function agentPid({
  underlay,
  httpPort = defaultAgentPort,
}: Pick<AgentRecord, 'underlay' | 'httpPort'>): string {
  return `slave(1)@${underlay.includes(':') ? `[${underlay}]` : underlay}:${httpPort}`
}

/** An agent as `/state` and `/slaves` have it. Source: reference/mesos-http-api.md, State; mesos, src/master/http.cpp. */
export function formatStateAgent(agent: AgentEntry, { available, offered }: AgentUse) {
  const { record, state } = agent
  const { unreserved, reserved } = shareOf(record.total, record.reserved)
  return {
    id: record.id,
    hostname: record.underlay,
    port: record.httpPort ?? defaultAgentPort,
    attributes: record.attributes,
    pid: agentPid(record),
    ...(agent.registeredAtMs === undefined ? {} : { registered_time: agent.registeredAtMs / 1000 }),
    resources: formatAmounts(record.total),
    used_resources: formatAmounts(without(without(record.total, available), offered)),
    offered_resources: formatAmounts(offered),
    reserved_resources: formatReserved(reserved),
    unreserved_resources: formatAmounts(unreserved),
    active: state.kind === 'connected' && lifeOf(record) === 'active',
    deactivated: record.deactivated ?? false,
    capabilities: ['MULTI_ROLE', 'HIERARCHICAL_ROLE', 'RESERVATION_REFINEMENT', 'AGENT_DRAINING'],
    weft: { node: record.nodeName, state: state.kind, life: lifeOf(record) },
    ...(record.drain && { drain_info: formatDrain(record.drain) }),
    ...(record.drain && { estimated_drain_start_time_seconds: record.drain.sinceMs / 1000 }),
  }
}

/** Message DrainInfo. Source: mesos, mesos.proto. */
export function formatDrain({ drained, maxGraceMs, afterwards }: DrainRecord) {
  return {
    state: drained ? 'DRAINED' : 'DRAINING',
    config: {
      ...(maxGraceMs === undefined ? {} : { max_grace_period: { nanoseconds: maxGraceMs * 1_000_000 } }),
      mark_gone: afterwards === 'gone',
    },
  }
}
