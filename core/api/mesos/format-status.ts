import { ipFamily } from '../../base/ip.ts'
import { type AgentId } from '../../model/ids.ts'
import { type NetworkInfo, type TaskStatus } from '../../model/task.ts'

/** A status as its framework reads it. Source: mesos, mesos.proto, message TaskStatus. */
export function formatStatus(status: TaskStatus, agentId?: AgentId): object {
  const { taskId, state, reason = '', message = '', timestampMs, uuid, healthy, networks, data = '' } = status
  return {
    task_id: { value: taskId },
    state,
    source: `SOURCE_${status.source}`,
    ...(reason === '' ? {} : { reason }),
    ...(message === '' ? {} : { message }),
    ...(agentId && { agent_id: { value: agentId } }),
    timestamp: timestampMs / 1_000,
    ...(uuid === undefined ? {} : { uuid: Buffer.from(uuid, 'hex').toString('base64') }),
    ...(healthy === undefined ? {} : { healthy }),
    ...(data === '' ? {} : { data }),
    // Nanoseconds as an integer that JSON holds exactly to the microsecond.
    ...(state === 'TASK_UNREACHABLE' ? { unreachable_time: { nanoseconds: Math.round(timestampMs) * 1_000_000 } } : {}),
    ...(networks.length === 0 ? {} : { container_status: { network_infos: networks.map(formatNetwork) } }),
  }
}

/** The host's network has no name. */
function formatNetwork({ name, addresses }: NetworkInfo): object {
  return {
    ...(name === '' ? {} : { name }),
    ip_addresses: addresses.map((address) => ({ protocol: `IPv${ipFamily(address)}`, ip_address: address })),
  }
}
