import { type Clock } from '../../core/base/clock.ts'
import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { ipFamily } from '../../core/base/ip.ts'
import { type Logger } from '../../core/base/log.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type RouteSocket } from '../netlink/ops.ts'
import { type RouteEvent, watchRoutes } from '../netlink/watch.ts'
import { followDrift } from '../overlay/drift.ts'
import { isVxlanDeviceName } from '../overlay/objects.ts'
import { openOwnChanges } from '../overlay/own-changes.ts'
import { openOverlayStage } from '../overlay/stage.ts'
import { procSysctl } from '../overlay/sysctl.ts'
import { type Asker } from '../probe/asker.ts'
import { openProbeGround } from '../probe/ground.ts'
import { keepOffload } from '../probe/kept-offload.ts'
import { type ChecksumOffload, openChecksumOffload } from '../probe/offload.ts'
import { peerAddresses, peersOf } from '../probe/peers.ts'
import { openProber } from '../probe/prober.ts'
import { type NetFlags } from './options.ts'
import { type Stage } from './stage.ts'

/** What the overlay of this machine needs. */
export interface OverlayOptions {
  readonly flags: Pick<NetFlags, 'nodeName' | 'underlay' | 'underlayDevice' | 'directRouting'>
  readonly routes: RouteSocket
  /** What is programmed now. */
  readonly snapshot: () => ClusterSnapshot
  /** Something changed that only an audit sees. */
  readonly requestAudit: () => void
  /** Kernel notifications were lost. */
  readonly onOverflow?: () => void
  readonly clock: Clock
  readonly log: Logger
}

/** The overlay with its two watchers: of the kernel, and of the ways to the other nodes. */
export interface Overlay {
  readonly stage: Stage
  /** Of the underlay device, as the last audit found it; undefined before the first. */
  readonly underlayMtuBytes: () => number | undefined
  /** What is wrong on ways to other nodes; nothing of it keeps a version from being applied. */
  readonly warnings: () => readonly string[]
  /** Asks other nodes' daemons; absent where probing is not possible. */
  readonly asker: Asker | undefined
  /** Watches until the signal aborts. */
  run(options: { readonly signal: AbortSignal }): Promise<void>
}

/** Opens the stage and the watchers; where probing is not possible the rest works without, and it is logged. */
export function openOverlay(options: OverlayOptions): Overlay {
  const { flags, requestAudit, clock, log } = options
  const { nodeName: self, underlayDevice, directRouting } = flags
  const own = openOwnChanges(clock)
  const routes = own.observe(options.routes)
  const probing = openProbing(options)
  const onDevice = probing.deviceMade
  const pathMtuBytes = probing.prober?.pathMtuBytes
  const stage = openOverlayStage({
    ...{ routes, self, underlayDevice, directRouting, sysctl: procSysctl, onDevice, log },
    ...(pathMtuBytes === undefined ? {} : { pathMtuBytes }),
  })
  return {
    stage,
    underlayMtuBytes: stage.underlayMtuBytes,
    warnings: () => probing.prober?.warnings() ?? [],
    asker: probing.asker,
    run: async ({ signal }) => {
      const watch = (how: { readonly signal: AbortSignal }) => telling(watchRoutes({}, how), options.onOverflow)
      const drift = followDrift({ routes, own, underlayDevice, watch, onDrift: requestAudit, clock, log }, { signal })
      await Promise.allSettled([drift, probing.prober?.run({ signal })])
      probing.close()
    },
  }
}

async function* telling(events: AsyncIterable<RouteEvent>, onOverflow: () => void = () => undefined) {
  for await (const event of events) {
    if (event.kind === 'resync' && event.reason === 'overflow') onOverflow()
    yield event
  }
}

/** A kernel without that netlink family keeps what its devices have: no reason not to ask other nodes. */
function openOffload(log: Logger): ChecksumOffload {
  try {
    return openChecksumOffload()
  } catch (error) {
    if (!hasCode(error, 'ERR_NETLINK_FAMILY')) throw error
    log.warn({ reason: errorMessage(error) }, 'whether devices compute checksums is left as it is')
    return { read: () => 'off', set: () => undefined, close: () => undefined }
  }
}

function openProbing({ flags, routes, snapshot, requestAudit, clock, log }: OverlayOptions) {
  const { nodeName, underlay, underlayDevice } = flags
  try {
    const opened = openOffload(log)
    const offload = keepOffload(opened, log)
    const ground = openProbeGround({ underlay: ipFamily(underlay), isPeer: peerAddresses(snapshot), clock })
    const prober = openProber({
      askers: ground.askers,
      peers: () => peersOf(snapshot(), nodeName),
      underlay: async () => {
        const link = await routes.link(underlayDevice)
        return link && { device: link.name, mtuBytes: link.mtuBytes }
      },
      devices: async () => (await routes.links()).map(({ name }) => name).filter(isVxlanDeviceName),
      offload,
      onChange: requestAudit,
      clock,
      log,
    })
    const close = () => {
      ground.close()
      opened.close()
    }
    return { prober, asker: ground.askers.noChecksum, deviceMade: offload.deviceMade, close }
  } catch (error) {
    log.warn({ reason: errorMessage(error) }, 'ways to other nodes are not probed')
    return { prober: undefined, asker: undefined, deviceMade: () => undefined, close: () => undefined }
  }
}
