import { type Hello, type LeaseUsage } from '../../api/gen/cluster.ts'
import { parsed } from '../../api/parse.ts'
import { type Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { parseNodeName } from '../../model/ids.ts'
import { type Guest, type GuestEvents } from '../grpc/guest.ts'
import { type NodeOffice, refusalOf } from '../grpc/nodes.ts'
import { type AppliedVersion } from '../snapshot/progress.ts'
import { type Relay, type RelayedNode } from './relay.ts'

/** A standby's way to serve nodes: with the leader's snapshot, passing on what they say. */
export function openStandbyOffice({ relay, clock, log }: { relay: Relay; clock: Clock; log: Logger }): NodeOffice {
  return {
    clock,
    log,
    term: () => relay.term(),
    view: () => relay.view(),
    subscribe: (resumeAfter, send) => relay.feed.subscribe(resumeAfter, send),
    openGuest: (events) => openRelayedGuest(relay, events),
    refused: (error) => log.info({ code: refusalOf(error).code, reason: errorMessage(error) }, 'node sent away'),
  }
}

/** Served with what the relay has, before the leader has heard of it: a node that is refused there is refused here then. */
function openRelayedGuest(relay: Relay, events: GuestEvents): Guest {
  let node: RelayedNode | undefined
  let giveUp: () => void = () => undefined
  let early: AppliedVersion | undefined
  let earlyUsage: LeaseUsage | undefined
  const hello = (hello: Hello) => {
    try {
      const name = parsed(hello.nodeName, parseNodeName, 'hello.node_name')
      node = relay.enter(name, events.refused)
      node.say({ $case: 'hello', value: hello })
      if (early !== undefined) applied(early)
      if (earlyUsage !== undefined) usage(earlyUsage)
      giveUp = relay.whenReady(() => events.admitted(name, hello))
    } catch (error) {
      events.refused(error)
    }
  }
  const applied = (told: AppliedVersion) => {
    if (node === undefined) early = told
    else node.say({ $case: 'applied', value: { ...told, warnings: [...told.warnings], repairs: { ...told.repairs } } })
  }
  const usage = (told: LeaseUsage) => {
    if (node === undefined) earlyUsage = told
    else node.say({ $case: 'usage', value: told })
  }
  const leave = () => {
    giveUp()
    node?.leave()
  }
  return { hello, applied, usage, leave }
}
