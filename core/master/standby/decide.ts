import { type NodeName } from '../../model/ids.ts'
import { admitNode, type NodeWish } from '../networks/nodes.ts'
import { type Profile } from '../networks/profile.ts'
import { type Decide, type MasterPlace, type NodeRecord } from '../registry/state.ts'

/** Notes that a master runs on the machine, which is admitted with it. Nothing is written when that is known. */
export function decideMaster(profile: Profile, wish: Omit<NodeWish, 'by'>, place: MasterPlace): Decide {
  return (state) => {
    const admitted = admitNode(profile, state, { ...wish, by: 'master' })
    const node = admitted ?? state.nodes.get(wish.name)
    if (node === undefined || (admitted === undefined && node.masterPlace?.http === place.http)) return {}
    return { nodes: new Map([[node.name, { ...node, masterPlace: place }]]) }
  }
}

/** No master runs there any more: its name goes. */
export function decideNoMaster(name: NodeName): Decide {
  return ({ nodes }) => {
    const node = nodes.get(name)
    if (node?.masterPlace === undefined) return {}
    const { masterPlace: _, ...rest } = node
    return { nodes: new Map<NodeName, NodeRecord>([[name, rest]]) }
  }
}
