import { errorMessage } from '../../core/base/errors.ts'
import { detachContainer } from '../attach/attach.ts'
import { isHostLinkName } from '../attach/names.ts'
import { type Lease } from '../ipam/lease.ts'
import { type CniDeps } from './cni-deps.ts'
import { remove } from './cni-remove.ts'

/** What a sweep took away. */
export interface SweepReport {
  /** Leases of another boot, or of an ADD or DEL that a crash ended. */
  readonly leases: number
  /** Host ends without a lease. */
  readonly links: number
}

/**
 * Puts leases and links together again after the daemon, or the machine, was restarted: leases of another boot are
 * released (their containers are gone), ADDs that had not ended are undone, DELs that had begun are finished, host ends
 * without a lease are deleted. A whole lease whose
 * link or namespace is gone stays until the runtime says DEL or GC: only it knows. Failures are logged and left for the
 * next sweep.
 */
export async function sweepAttachments(
  deps: CniDeps,
  { signal }: { readonly signal: AbortSignal },
): Promise<SweepReport> {
  let leases = 0
  const halves = ({ bootId, state }: Lease) => bootId !== deps.leases.bootId || state !== undefined
  for (const lease of deps.leases.list().filter(halves)) {
    signal.throwIfAborted()
    try {
      await remove(deps, lease)
      leases++
    } catch (error) {
      deps.log.warn(
        { container: lease.container, error: errorMessage(error) },
        'lease of another boot, or half made, not released',
      )
    }
  }
  const links = await sweepLinks(deps, signal)
  if (leases + links > 0) deps.log.info({ leases, links }, 'leftovers of an earlier daemon removed')
  return { leases, links }
}

async function sweepLinks(deps: CniDeps, signal: AbortSignal): Promise<number> {
  const held = new Set(deps.leases.list().map(({ hostLink }) => hostLink))
  const links = await deps.kernel.host.links()
  let removed = 0
  for (const { name, type } of links) {
    if (type !== 'veth' || !isHostLinkName(name) || held.has(name)) continue
    signal.throwIfAborted()
    try {
      await detachContainer(deps.kernel, name)
      removed++
    } catch (error) {
      deps.log.warn({ link: name, error: errorMessage(error) }, 'leftover link not removed')
    }
  }
  return removed
}
