import { decodeUsage } from '../../api/convert-usage.ts'
import { type Hello, type LeaseUsage } from '../../api/gen/cluster.ts'
import { parsed } from '../../api/parse.ts'
import { AppError } from '../../base/errors.ts'
import { type Ip, parseIp } from '../../base/ip.ts'
import { type NodeName, parseNodeName } from '../../model/ids.ts'
import { type SubnetUsage } from '../../model/usage.ts'
import { type MasterContext } from '../context.ts'
import { decideNode } from '../networks/nodes.ts'
import { type AppliedVersion } from '../snapshot/progress.ts'

/** A node daemon that is served, here or by a standby: what it says, in order. */
export interface Guest {
  /** Once, first. */
  hello(hello: Hello): void
  applied(told: AppliedVersion): void
  usage(usage: LeaseUsage): void
  /** Its stream ended. */
  leave(): void
}

/** What becomes of a guest. */
export interface GuestEvents {
  /** It is a node of the cluster: it may be served. */
  readonly admitted: (name: NodeName, hello: Hello) => void
  /** It is not, or said nonsense. */
  readonly refused: (error: unknown) => void
  /** The node has come by another stream: this one is over. */
  readonly replaced: () => void
}

/** The nodes that are here now: a node's newer stream ends its older one, wherever the two are. */
export interface Attendance {
  enter(name: NodeName, replaced: () => void): void
  /** Nothing happens when somebody else has come in its place. */
  leave(name: NodeName, replaced: () => void): void
}

/** Nobody is here. */
export function openAttendance({ progress }: Pick<MasterContext, 'progress'>): Attendance {
  const present = new Map<NodeName, () => void>()
  return {
    enter: (name, replaced) => {
      const older = present.get(name)
      present.set(name, replaced)
      older?.()
      progress.connected(name)
    },
    leave: (name, replaced) => {
      if (present.get(name) !== replaced) return
      present.delete(name)
      progress.disconnected(name)
    },
  }
}

/** A guest of a leader: admitted durably before anything that it says counts. */
export function openGuest(context: MasterContext, attendance: Attendance, events: GuestEvents): Guest {
  let node: NodeName | undefined
  let left = false
  let early: AppliedVersion | undefined
  let earlyUsage: readonly SubnetUsage[] | undefined
  const admit = async (hello: Hello) => {
    try {
      const name = parsed(hello.nodeName, parseNodeName, 'hello.node_name')
      const underlay = parsed(hello.underlay, parseIp, 'hello.underlay')
      refuseDeposed(context, hello)
      refuseNamesake(context, name, underlay)
      await context.registrar.apply(decideNode(context.profile, { name, underlay, by: 'daemon' }))
      if (left) return
      node = name
      attendance.enter(name, events.replaced)
      if (early !== undefined) context.progress.applied(name, early)
      if (earlyUsage !== undefined) context.usage.set(name, earlyUsage)
      events.admitted(name, hello)
    } catch (error) {
      if (!left) events.refused(error)
    }
  }
  return {
    hello: (hello) => void admit(hello),
    applied: (told) => {
      if (node === undefined) early = told
      else if (!left) context.progress.applied(node, told)
    },
    usage: (proto) => {
      try {
        const usage = decodeUsage(proto)
        if (node === undefined) earlyUsage = usage
        else if (!left) context.usage.set(node, usage)
      } catch (error) {
        events.refused(error)
      }
    },
    leave: () => {
      left = true
      if (node !== undefined) attendance.leave(node, events.replaced)
    },
  }
}

/** @throws ERR_MASTER_TERM when a newer leader has been heard: this one is deposed and does not know it yet */
export function refuseDeposed({ term }: Pick<MasterContext, 'term'>, { highestTerm }: Hello): void {
  if (highestTerm <= term) return
  throw new AppError('ERR_MASTER_TERM', `term ${highestTerm} has been seen, this master has ${term}: ask another one`)
}

/** Two machines of one name would take each other's place again and again. */
function refuseNamesake({ registrar, progress }: MasterContext, name: NodeName, underlay: Ip): void {
  const known = registrar.state.nodes.get(name)
  if (known === undefined || known.underlay === underlay || !progress.of(name).connected) return
  const advice = 'give each machine its own --node-name'
  throw new AppError('ERR_MASTER_NODE_NAME', `node name "${name}" is in use at ${known.underlay}: ${advice}`)
}
