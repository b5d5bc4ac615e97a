import { type NodeName } from '../../model/ids.ts'
import { type NodeRecord } from '../registry/state.ts'

/** What the machine's master does, as the leader on `self` sees it; undefined where none runs. */
export function masterRole(
  { name, masterPlace }: Pick<NodeRecord, 'name' | 'masterPlace'>,
  self: NodeName,
): 'leader' | 'standby' | undefined {
  if (name === self) return 'leader'
  return masterPlace === undefined ? undefined : 'standby'
}
