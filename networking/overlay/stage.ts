import { formatRouteOp } from '../netlink/format.ts'
import { type RouteOp } from '../netlink/ops.ts'
import { type Repair, type SnapshotChange, type Stage } from '../node/stage.ts'
import { applyOverlay } from './apply.ts'
import { type OverlayInputs } from './desired.ts'
import { type OverlayPlan, planOverlayChange } from './plan.ts'
import { overlayInputs, type OverlayRoundScope, type OverlayStageOptions, reconcileOverlay } from './reconcile.ts'

/** The stage, and what it found that others follow from. */
export interface OverlayStage extends Stage {
  /** Of the underlay device when it was last read, by each audit; undefined before the first. */
  underlayMtuBytes(): number | undefined
}

/**
 * The stage that makes containers of other nodes reachable. A change is performed as the difference of two snapshots,
 * at a cost that depends on the change alone; only where it makes a device is the kernel read first, because that is
 * when ranges must not clash with the machine's routes. The underlay's MTU and prefixes and what the probes found are read
 * by each audit: changes in between use the last ones known.
 */
export function openOverlayStage(options: OverlayStageOptions): OverlayStage {
  const { routes, underlayDevice } = options
  let known: OverlayInputs | undefined

  const inputs = async () => {
    if (known !== undefined) return known
    const link = await routes.link(underlayDevice)
    const addresses = await routes.addresses()
    known ??= overlayInputs(options, link === undefined ? [] : [link], addresses)
    return known
  }
  const reconcile = async (
    snapshot: SnapshotChange['next'],
    how: { scope: OverlayRoundScope; signal: AbortSignal },
  ) => {
    const round = await reconcileOverlay(options, snapshot, how)
    known = round.inputs
    return round
  }
  return {
    name: 'overlay',
    underlayMtuBytes: () => known?.underlayMtuBytes,
    plan: (change) => {
      // When the steps run, not now: the pipeline plans also what it then leaves to an audit.
      let plan: OverlayPlan | undefined
      const planned = async () => {
        plan ??= planOverlayChange(change, await inputs())
        return plan
      }
      return {
        add: async ({ signal }) => {
          const { add } = await planned()
          if (add.some(({ kind }) => kind === 'link.add')) await reconcile(change.next, { scope: 'additions', signal })
          else await applyOverlay(routes, add, { signal })
        },
        remove: async ({ signal }) => applyOverlay(routes, (await planned()).remove, { signal }),
      }
    },
    audit: async (snapshot, { signal }) => {
      const { ops, settings } = await reconcile(snapshot, { scope: 'all', signal })
      return [...ops.map(repairOf), ...settings.map((operation) => ({ stage: 'overlay', operation }))]
    },
  }
}

/** Its command is put into words when somebody reads it: the first audit of a large cluster repairs 50,000 things. */
function repairOf(op: RouteOp): Repair {
  return {
    stage: 'overlay',
    get operation() {
      return formatRouteOp(op)
    },
  }
}
