import { type NetworkConfig } from '../../cni-plugins/cni/config.ts'
import { type PluginRunner } from '../../cni-plugins/cni/invoke.ts'
import { objectField, stringField } from '../../cni-plugins/cni/json.ts'
import { type Attachment, type CniRequest } from '../../cni-plugins/cni/request.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NetworkName, parseNetworkName } from '../../core/model/ids.ts'
import { type AttachKernel } from '../attach/kernel.ts'
import { type LeaseKey } from '../ipam/lease.ts'
import { type Leases } from '../ipam/leases.ts'
import { type Antispoof } from '../isolation/antispoof.ts'
import { type CniView, type NetworkView, type PortMapper, type Shaper } from './cni-view.ts'

/** What the commands work with. */
export interface CniDeps {
  readonly leases: Leases
  readonly kernel: AttachKernel
  readonly view: () => CniView
  readonly log: Logger
  readonly portMapper?: PortMapper
  readonly antispoof?: Pick<Antispoof, 'bind' | 'unbind'>
  readonly shaper?: Shaper
  /** Starts other plugins, found in these folders: IPAM that is not ours. Absent: it is refused. */
  readonly plugins?: (directories: readonly string[]) => PluginRunner
}

/** A request of one kind. */
export type RequestOf<Kind extends CniRequest['kind']> = Extract<CniRequest, { readonly kind: Kind }>

/** Under which name the plugin was started: for an interface, or, by another plugin, for addresses only. */
export type PluginRole = 'interface' | 'ipam'

/** Name of the plugin that gives addresses only. */
export const ipamPluginType = 'weft-ipam'

/** What the lease of an attachment is found by. */
export function leaseKey(config: NetworkConfig, { containerId, ifname }: Attachment): LeaseKey {
  return { network: config.name, container: containerId, ifname }
}

/** @throws ERR_CNI_TRY_AGAIN when the node has no part of the network (yet); ERR_CNI_CONFIG for an impossible name */
export function networkView(deps: Pick<CniDeps, 'view'>, name: string): NetworkView {
  const network = deps.view().networks.get(networkName(name))
  if (network === undefined) {
    throw new AppError(
      'ERR_CNI_TRY_AGAIN',
      `this node knows no network "${name}": create it, or try again when it does`,
    )
  }
  if (network.subnets.length === 0) {
    throw new AppError('ERR_CNI_TRY_AGAIN', `this node has no subnet of network "${name}" yet: try again`)
  }
  return network
}

function networkName(name: string): NetworkName {
  try {
    return parseNetworkName(name)
  } catch (cause) {
    throw new AppError('ERR_CNI_CONFIG', `key "name": ${errorMessage(cause)}`, { cause })
  }
}

/** `ipam.type` where it is not ours. @throws ERR_CNI_DECODE */
export function foreignIpam({ raw }: NetworkConfig): string | undefined {
  const type = stringField(objectField(raw, 'ipam') ?? {}, 'type') ?? ''
  return type === '' || type === ipamPluginType ? undefined : type
}
