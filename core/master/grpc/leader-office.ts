import { type Hello, type NodeMessage } from '../../api/gen/cluster.ts'
import { parsed } from '../../api/parse.ts'
import { AppError, errorMessage } from '../../base/errors.ts'
import { parseIp } from '../../base/ip.ts'
import { type NodeName, parseNodeName } from '../../model/ids.ts'
import { type MasterContext } from '../context.ts'
import { decideMaster } from '../standby/decide.ts'
import { type Attendance, type Guest, openAttendance, openGuest, refuseDeposed } from './guest.ts'
import { type NodeOffice, refusalOf, type StandbyGuest, type StandbyStream } from './nodes.ts'

/** The leader's way to serve nodes, and standbys with the nodes that those serve. */
export function openLeaderOffice(context: MasterContext): NodeOffice {
  const { clock, log, term, keeper, counters } = context
  const attendance = openAttendance(context)
  const standbys = new Map<NodeName, StandbyStream>()
  return {
    clock,
    log,
    term: () => term,
    view: () => keeper.view(),
    subscribe: (resumeAfter, send) => keeper.subscribe(resumeAfter, send),
    openGuest: (events) => openGuest(context, attendance, events),
    openStandby: (hello, stream) => {
      const guest = openStandbyGuest(context, attendance, stream)
      void admitStandby(context, standbys, { hello, stream, guest })
      return guest
    },
    refused: (error) => {
      counters.refusals++
      log.warn({ code: refusalOf(error).code, reason: errorMessage(error) }, 'node refused')
    },
  }
}

interface LeavingGuest extends StandbyGuest {
  /** Called when the stream is over; at once when it is over already. */
  onLeave(task: () => void): void
}

/** What the standby's nodes say counts before the standby itself is admitted: they are nodes of their own. */
function openStandbyGuest(context: MasterContext, attendance: Attendance, stream: StandbyStream): LeavingGuest {
  const guests = new Map<string, Guest>()
  const tasks: (() => void)[] = []
  let left = false
  const open = (nodeName: string) => {
    guests.get(nodeName)?.leave()
    const guest = openGuest(context, attendance, {
      admitted: (node) => context.log.info({ node }, 'node subscribed to a standby'),
      refused: (error) =>
        stream.write({ body: { $case: 'relayRefused', value: { nodeName, refused: refusalOf(error) } }, term: 0 }),
      replaced: () => undefined, // the standby notices that the node has left it
    })
    guests.set(nodeName, guest)
    return guest
  }
  const receive = ({ body: message }: NodeMessage) => {
    if (left || message?.$case !== 'relayed') return
    const { nodeName, body } = message.value
    if (body?.$case === 'hello') open(nodeName).hello({ ...body.value, nodeName })
    else if (body?.$case === 'applied') guests.get(nodeName)?.applied(body.value)
    else if (body?.$case === 'usage') guests.get(nodeName)?.usage(body.value)
    else if (body?.$case === 'left') {
      guests.get(nodeName)?.leave()
      guests.delete(nodeName)
    }
  }
  const leave = () => {
    left = true
    for (const guest of guests.values()) guest.leave()
    for (const task of tasks.splice(0)) task()
  }
  return { receive, leave, onLeave: (task) => (left ? task() : void tasks.push(task)) }
}

interface Arrival {
  readonly hello: Hello
  readonly stream: StandbyStream
  readonly guest: LeavingGuest
}

/** Durable before it follows: then its name and its node are there when it takes over. */
async function admitStandby(
  context: MasterContext,
  standbys: Map<NodeName, StandbyStream>,
  { hello, stream, guest }: Arrival,
): Promise<void> {
  try {
    const name = parsed(hello.nodeName, parseNodeName, 'hello.node_name')
    const underlay = parsed(hello.underlay, parseIp, 'hello.underlay')
    refuseDeposed(context, hello)
    if (name === context.self) {
      throw new AppError('ERR_MASTER_NODE_NAME', `"${name}" is the leader's node: give each master its own --node-name`)
    }
    await context.registrar.apply(decideMaster(context.profile, { name, underlay }, { http: hello.http }))
    const older = standbys.get(name)
    standbys.set(name, stream)
    older?.refused(new AppError('ERR_MASTER_SESSION', 'the same standby has come by another stream'))
    context.roster.present(name)
    guest.onLeave(() => {
      if (standbys.get(name) !== stream) return
      standbys.delete(name)
      context.roster.absent(name)
      context.log.warn({ node: name }, 'standby left')
    })
    context.log.info({ node: name, http: hello.http }, 'standby follows')
    stream.admitted()
  } catch (error) {
    stream.refused(error)
  }
}
