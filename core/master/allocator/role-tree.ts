import { type ClusterTotal, openSorter, type Scalars, type Sorter } from './sorter.ts'

/**
 * Roles as a tree: `a/b` is below `a`. Siblings are in the order of what their whole subtrees have, divided by the weight of
 * their path. A role that has frameworks of its own competes with the roles below it as if it were one of them (named `.`,
 * of weight 1). A grant moves one node of each level. Source: mesos, sorter.cpp, and docs/roles.md.
 */
export interface RoleTree {
  /** An active role has a framework that may get offers. */
  setActive(role: string, state: 'active' | 'inactive'): void
  setWeight(role: string, weight: number): void
  tally(role: string, amount: Scalars, sign: 1 | -1): void
  /** What a role and all below it have. */
  allocated(role: string): Scalars
  /** Of the subtree, among its siblings. */
  share(role: string): number
  /** The neediest active role that `accept` takes; subtrees of top-level roles that `enter` refuses are passed over. */
  find(accept: (role: string) => boolean, enter?: (top: string) => boolean): string | undefined
  /** The same within `top` and the roles below it. */
  findWithin(top: string, accept: (role: string) => boolean): string | undefined
  /** All active roles in order: a copy. */
  order(): readonly string[]
}

interface Node {
  readonly role: string
  readonly segment: string
  readonly parent: Node | undefined
  readonly children: Map<string, Node>
  /** Of the children's segments, and of `.`, the role itself. */
  readonly sorter: Sorter<string>
}

const self = '.'
const defaultWeight = 1

/** Opens a tree without roles. */
export function openRoleTree(total: ClusterTotal): RoleTree {
  const weights = new Map<string, number>()
  const root = makeNode(undefined, '', total)
  const nodes = new Map<string, Node>()
  const nodeOf = (role: string): Node => {
    const known = nodes.get(role)
    if (known !== undefined) return known
    const slash = role.lastIndexOf('/')
    const parent = slash < 0 ? root : nodeOf(role.slice(0, slash))
    const node = makeNode(parent, role, total)
    parent.children.set(node.segment, node)
    parent.sorter.add(node.segment, weights.get(role) ?? defaultWeight)
    nodes.set(role, node)
    return node
  }
  const found = (node: Node, accept: (role: string) => boolean) => findBelow(node, accept, () => true)
  return {
    setActive: (role, state) => setActive(nodeOf(role), state),
    setWeight: (role, weight) => {
      weights.set(role, weight)
      const node = nodes.get(role)
      node?.parent?.sorter.add(node.segment, weight)
    },
    tally: (role, amount, sign) => {
      const leaf = nodeOf(role)
      leaf.sorter.tally(self, amount, sign)
      for (let node = leaf; node.parent !== undefined; node = node.parent) {
        node.parent.sorter.tally(node.segment, amount, sign)
      }
    },
    allocated: (role) => {
      const node = nodes.get(role)
      return node?.parent?.sorter.allocated(node.segment) ?? { cpuMillis: 0, memMb: 0, diskMb: 0 }
    },
    share: (role) => {
      const node = nodes.get(role)
      return node?.parent?.sorter.share(node.segment) ?? 0
    },
    find: (accept, enter = () => true) => findBelow(root, accept, enter),
    findWithin: (top, accept) => {
      const node = nodes.get(top)
      return node === undefined ? undefined : found(node, accept)
    },
    order: () => {
      const roles: string[] = []
      found(root, (role) => {
        roles.push(role)
        return false
      })
      return roles
    },
  }
}

function makeNode(parent: Node | undefined, role: string, total: ClusterTotal): Node {
  const sorter = openSorter<string>(total)
  if (parent !== undefined) sorter.add(self, defaultWeight)
  return { role, segment: role.slice(role.lastIndexOf('/') + 1), parent, children: new Map(), sorter }
}

function setActive(leaf: Node, state: 'active' | 'inactive'): void {
  leaf.sorter.setActive(self, state)
  for (let node = leaf; node.parent !== undefined; node = node.parent) {
    node.parent.sorter.setActive(node.segment, node.sorter.hasActive() ? 'active' : 'inactive')
  }
}

function findBelow(node: Node, accept: (role: string) => boolean, enter: (top: string) => boolean): string | undefined {
  let result: string | undefined
  node.sorter.find((segment) => {
    if (segment === self) result = accept(node.role) ? node.role : undefined
    else {
      const child = node.children.get(segment)
      if (child === undefined || (node.parent === undefined && !enter(child.role))) return false
      result = findBelow(child, accept, enter)
    }
    return result !== undefined
  })
  return result
}
