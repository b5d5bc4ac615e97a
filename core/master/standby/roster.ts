import { errorMessage } from '../../base/errors.ts'
import { type NodeName } from '../../model/ids.ts'
import { type MasterContext } from '../context.ts'
import { type NodeRecord } from '../registry/state.ts'
import { masterRole } from './role.ts'
import { decideNoMaster } from './decide.ts'

/** A master stays in the names this long after it was last there: long enough for a restart, or for a change of leader. */
const masterGraceMs = 75_000

/** A master, as `weft master list` shows it. */
export interface MasterView {
  readonly node: NodeName
  readonly role: 'leader' | 'standby'
  readonly http: string
  /** It follows the leader now; of the leader: true. */
  readonly connected: boolean
}

/** Which masters there are. Who they are is durable; whether they are there is not. */
export interface Roster {
  present(name: NodeName): void
  absent(name: NodeName): void
  list(): readonly MasterView[]
  close(): void
}

type RosterContext = Pick<MasterContext, 'registrar' | 'clock' | 'log' | 'self'>

/** Opens it when a term of office begins: masters that were there before have a while to come. */
export function openRoster({ registrar, clock, log, self }: RosterContext): Roster {
  const here = new Set<NodeName>()
  const waiting = new Map<NodeName, () => void>()
  const forget = (name: NodeName) => {
    waiting.delete(name)
    registrar.apply(decideNoMaster(name)).then(
      () => log.info({ node: name }, 'master is gone; its names go'),
      (error: unknown) =>
        log.warn({ node: name, reason: errorMessage(error) }, 'a master that is gone stays in the names'),
    )
  }
  const stopWaiting = (name: NodeName) => {
    waiting.get(name)?.()
    waiting.delete(name)
  }
  const absent = (name: NodeName) => {
    here.delete(name)
    stopWaiting(name)
    waiting.set(
      name,
      clock.after(masterGraceMs, () => forget(name)),
    )
  }
  for (const { name, masterPlace } of registrar.state.nodes.values()) {
    if (masterPlace !== undefined && name !== self) absent(name)
  }
  const view = (node: NodeRecord): readonly MasterView[] => {
    const role = masterRole(node, self)
    const { name, masterPlace } = node
    if (role === undefined) return []
    return [{ node: name, role, http: masterPlace?.http ?? '', connected: name === self || here.has(name) }]
  }
  return {
    present: (name) => {
      here.add(name)
      stopWaiting(name)
    },
    absent,
    list: () => [...registrar.state.nodes.values()].flatMap(view),
    close: () => {
      for (const cancel of waiting.values()) cancel()
      waiting.clear()
    },
  }
}
