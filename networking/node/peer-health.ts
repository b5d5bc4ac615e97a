import { type Clock } from '../../core/base/clock.ts'
import { type Logger } from '../../core/base/log.ts'
import { type NodeName } from '../../core/model/ids.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'
import { type Bypass } from '../../lb/health/bypass.ts'
import { openBackendPeers } from '../../lb/health/peers.ts'
import { openPeerWatch, type PeerReport, type PeerWatch } from '../../lb/health/watch-peers.ts'
import { type Asker, leastOctets } from '../probe/asker.ts'
import { knock } from '../probe/knock.ts'

/** What watching the nodes that carry backends is made of. */
export interface PeerHealthOptions {
  readonly self: NodeName
  readonly snapshot: () => ClusterSnapshot
  readonly bypass: Bypass
  readonly asker: Asker
  /** An audit's acknowledgement carries the warnings. */
  readonly requestAudit: () => void
  readonly clock: Clock
  readonly log: Logger
}

/** The load balancer's watch, by the probes of the overlay. */
export function openPeerHealth({
  self,
  snapshot,
  bypass,
  asker,
  requestAudit,
  clock,
  log,
}: PeerHealthOptions): PeerWatch {
  return openPeerWatch({
    peers: openBackendPeers(snapshot, self),
    ask: (address, { timeoutMs, signal }) =>
      asker.ask(address, leastOctets, { attempts: 1, answerMs: timeoutMs, signal }),
    knock: (address, how) => knock(address, { ...how, clock }),
    onChange: async (down, how) => {
      try {
        await bypass.set(down, how)
      } finally {
        requestAudit() // repairs what failed, and tells the masters who is down
      }
    },
    clock,
    log,
  })
}

/** What a person should know of nodes that do not answer. */
export function peerWarnings(reports: readonly PeerReport[]): readonly string[] {
  return reports.flatMap(({ node, underlay, state }) =>
    state === 'up' ? [] : [`node ${node} (${underlay}) does not answer: VIPs give its backends nothing new from here`],
  )
}
