import { AppError, errorMessage } from '../../core/base/errors.ts'
import { detachContainer } from '../attach/attach.ts'
import { hostLinkName } from '../attach/names.ts'
import { type DelegatedCall, type Lease, type LeaseKey } from '../ipam/lease.ts'
import { delegatedCall, runDelegate } from './cni-delegate.ts'
import { type CniDeps, foreignIpam, leaseKey, type PluginRole, type RequestOf } from './cni-deps.ts'
import { type CniCall } from './cni-frame.ts'

/**
 * DEL: idempotent; the address comes back last, when nothing leads to the container any more. A lease of the other role
 * (our IPAM alone against our interface) is not touched.
 * @throws ERR_ATTACH_FAILED, ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL, ERR_CNI_PLUGIN of another IPAM
 */
export async function deleteContainer(
  deps: CniDeps,
  { config, attachment }: RequestOf<'DEL'>,
  { call, role }: { readonly call: CniCall; readonly role: PluginRole },
): Promise<void> {
  const key = leaseKey(config, attachment)
  const lease = deps.leases.get(key)
  if (lease !== undefined && (lease.hostLink === '') !== (role === 'ipam')) return
  if (role === 'ipam') {
    await deps.leases.release(key)
    return
  }
  const foreign = foreignIpam(config)
  // DEL of what was never added: the other plugin may have an address for it all the same.
  const delegate = lease === undefined && foreign !== undefined ? delegatedCall(foreign, call) : undefined
  await remove(deps, key, delegate)
}

/**
 * Takes everything of one attachment away. The lease says `removing` first: what a crash leaves of it is finished at the
 * next start. `delegate` is for an attachment without a lease.
 * @throws ERR_ATTACH_FAILED, ERR_IPAM_DISK_FULL, ERR_IPAM_JOURNAL, ERR_CNI_PLUGIN
 */
export async function remove(deps: CniDeps, key: LeaseKey, delegate?: DelegatedCall): Promise<void> {
  const before = deps.leases.get(key)
  const hostLink = before?.hostLink ?? hostLinkName({ containerId: key.container, ifname: key.ifname })
  await deps.leases.mark(key, 'removing')
  await deps.portMapper?.remove(key)
  const lease = deps.leases.get(key)
  const holder = deps.leases.linkHolder(hostLink)
  // Called for another network than the one that has the interface, it must not take that one's link.
  if (hostLink !== '' && (holder === lease || holder === undefined)) {
    if (lease?.bandwidth !== undefined) await deps.shaper?.remove(hostLink)
    await detachContainer(deps.kernel, hostLink)
    if (lease !== undefined) await deps.antispoof?.unbind(lease)
  }
  const delegated = lease?.delegate ?? delegate
  if (delegated !== undefined) await runDelegate(deps, delegated, 'DEL')
  await deps.leases.release(key)
}

/** Undoes an ADD that failed. What cannot be undone now stays leased, and is undone by DEL, GC or the next start. */
export async function undoAdd(deps: CniDeps, key: LeaseKey): Promise<void> {
  if (deps.leases.get(key) === undefined) return
  await remove(deps, key).catch((second) => {
    deps.log.warn({ container: key.container, error: errorMessage(second) }, 'failed ADD not wholly undone')
  })
}

/** Runs one task after another for a container: {@link collectGarbage} must not meet an ADD or DEL. */
export type Exclusive = (containerId: string, task: () => Promise<void>) => Promise<void>

/**
 * GC: frees what is not named, of this network only; without a list, nothing. What is being added meanwhile is not stale,
 * whatever the list says. Everything is tried. @throws ERR_CNI_GC naming all that failed
 */
export async function collectGarbage(
  deps: CniDeps,
  { config, valid }: RequestOf<'GC'>,
  { call, role, exclusive }: { readonly call: CniCall; readonly role: PluginRole; readonly exclusive: Exclusive },
): Promise<void> {
  if (valid === undefined) return
  const alive = new Set(valid.map(({ containerId, ifname }) => `${containerId}\0${ifname}`))
  const stale = deps.leases
    .list()
    .filter((lease) => lease.network === config.name && (lease.hostLink === '') === (role === 'ipam'))
    .filter(({ container, ifname, state }) => state !== 'making' && !alive.has(`${container}\0${ifname}`))
  const failures: unknown[] = []
  const attempt = (task: Promise<unknown>) => task.catch((error: unknown) => failures.push(error))
  for (const lease of stale) await attempt(exclusive(lease.container, () => removeUnchanged(deps, lease)))
  const foreign = role === 'interface' ? foreignIpam(config) : undefined
  if (foreign !== undefined) await attempt(runDelegate(deps, delegatedCall(foreign, call), 'GC'))
  if (failures.length === 0) return
  const message = `GC failed for ${failures.length}: ${failures.map(errorMessage).join('; ')}`
  throw new AppError('ERR_CNI_GC', message, { cause: new AggregateError(failures) })
}

/** Between the list and its turn, a container may have been deleted and added again: then it lives. */
async function removeUnchanged(deps: CniDeps, lease: Lease): Promise<void> {
  if (deps.leases.get(lease) === lease) await remove(deps, lease)
}
