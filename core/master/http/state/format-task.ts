import { ipFamily } from '../../../base/ip.ts'
import { type NetworkInfo, type Protocol, type TaskStatus } from '../../../model/task.ts'
import { type MasterTask } from '../../tasks/state.ts'
import { formatAmounts } from './amounts.ts'

/** A task as `/state` and `/tasks` have it. Source: reference/mesos-http-api.md, State; mesos, src/common/http.cpp. */
export function formatStateTask({ info, frameworkId, status, role }: MasterTask) {
  const { discovery, command, container } = info
  return {
    id: info.taskId,
    name: info.name,
    framework_id: frameworkId,
    executor_id: info.executor?.id ?? '',
    slave_id: info.agentId,
    state: status.state,
    resources: formatAmounts(info.resources),
    role,
    statuses: [formatStateStatus(status)],
    ...(command.user === undefined ? {} : { user: command.user }),
    labels: pairsOf(info.labels),
    ...(discovery === undefined
      ? {}
      : {
          discovery: {
            visibility: discovery.visibility,
            name: discovery.name,
            ports: { ports: discovery.ports.flatMap(portsOf) },
          },
        }),
    container: {
      type: container?.type === 'docker' ? 'DOCKER' : 'MESOS',
      network_infos: info.networks.map(({ name }) => ({ name })),
    },
  }
}

interface Port {
  readonly number: number
  readonly name?: string
  readonly protocols: readonly Protocol[]
  readonly labels: Readonly<Record<string, string>>
}

/** Mesos has one protocol for each port. */
function portsOf({ number, name, protocols, labels }: Port) {
  const list = pairsOf(labels)
  return protocols.map((protocol) => ({
    number,
    ...(name === undefined ? {} : { name }),
    protocol,
    ...(list.length === 0 ? {} : { labels: { labels: list } }),
  }))
}

function formatStateStatus({ state, timestampMs, healthy, networks }: TaskStatus) {
  return {
    state,
    timestamp: timestampMs / 1000,
    ...(healthy === undefined ? {} : { healthy }),
    labels: [],
    container_status: { network_infos: networks.map(networkOf) },
  }
}

/** The host's network has no name. */
function networkOf({ name, addresses }: NetworkInfo) {
  return {
    ...(name === '' ? {} : { name }),
    ip_addresses: addresses.map((address) => ({ protocol: `IPv${ipFamily(address)}`, ip_address: address })),
  }
}

function pairsOf(labels: Readonly<Record<string, string>>) {
  return Object.entries(labels).map(([key, value]) => ({ key, value }))
}
