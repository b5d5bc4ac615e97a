import { type CniDns, type CniResult } from '../../cni-plugins/cni/result.ts'
import { type Ip } from '../base/ip.ts'
import { type NetworkInfo, type NetworkRequest } from '../model/task.ts'
import { type ContainerRequest } from './containerizer/containerizer.ts'
import { type ContainerNetwork, dnsOf, networkInfos } from './network.ts'
import { type Attachment } from './record.ts'

/** What attaching needs of the agent. */
export interface AttachDependencies {
  readonly network: ContainerNetwork
  /** The node's own address: that of containers on the host's network. */
  readonly underlay: Ip
  /** For containers on the host's network; absent: the host's resolv.conf as it is. */
  readonly hostDns?: CniDns
  /** Where a container's network namespace is pinned. */
  readonly netnsOf: (containerId: string) => string
}

/** How a container is connected: for its start, and for the statuses of its tasks. */
export interface AttachedNetwork {
  readonly network: ContainerRequest['network']
  readonly networks: readonly NetworkInfo[]
}

/** The steps that must be written. */
export interface AttachSteps {
  /** Before ADD: what an ADD makes must be found again. */
  readonly attaching: (attachments: readonly Attachment[]) => Promise<void>
  /** After it. Waited for only where an earlier agent's word counts. */
  readonly attached: (results: readonly CniResult[], networks: readonly NetworkInfo[]) => void
}

/** Attaches a container to its networks. @throws as ContainerNetwork, and what a step throws; the caller detaches then */
export async function attachContainer(
  deps: AttachDependencies,
  target: { readonly containerId: string; readonly requests: readonly NetworkRequest[] } & AttachSteps,
  { signal }: { readonly signal: AbortSignal },
): Promise<AttachedNetwork> {
  const { containerId, requests, attaching, attached } = target
  const attachments = await deps.network.prepare(requests)
  await attaching(attachments)
  const results = await deps.network.attach({ containerId, netns: deps.netnsOf(containerId), attachments }, { signal })
  const networks = networkInfos(attachments, results)
  attached(results, networks)
  return attachedNetwork(deps, { containerId, results, networks })
}

/** A container that is attached already. */
export function attachedNetwork(
  { netnsOf }: Pick<AttachDependencies, 'netnsOf'>,
  at: {
    readonly containerId: string
    readonly results: readonly CniResult[]
    readonly networks: readonly NetworkInfo[]
  },
): AttachedNetwork {
  const dns = dnsOf(at.results)
  const addresses = at.networks.flatMap((each) => each.addresses)
  const network = {
    kind: 'own',
    netns: netnsOf(at.containerId),
    addresses,
    ...(dns === undefined ? {} : { dns }),
  } as const
  return { network, networks: at.networks }
}

/** A container on the host's network. */
export function hostNetwork({ hostDns, underlay }: Pick<AttachDependencies, 'hostDns' | 'underlay'>): AttachedNetwork {
  return {
    network: { kind: 'host', ...(hostDns === undefined ? {} : { dns: hostDns }) },
    networks: [{ name: '', addresses: [underlay] }],
  }
}
