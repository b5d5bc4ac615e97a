import { type FrameworkId } from '../../model/ids.ts'
import { wholeOfShare } from '../../model/reservation.ts'
import { type Grant } from './grant.ts'
import { type ClientKey, clientKey } from './filters.ts'
import { type RoleTree } from './role-tree.ts'
import { type ClusterTotal, openSorter, type Sorter } from './sorter.ts'

/** A framework in one of its roles. */
export interface Client {
  readonly key: ClientKey
  readonly frameworkId: FrameworkId
  readonly role: string
  /** It left the role, or the cluster, but still has resources there. */
  subscribed: boolean
  suppressed: boolean
  /** Monotonic: when it was last granted something, or came. */
  servedMs: number
}

/** Frameworks, in the order of each role. */
export interface FrameworkTable {
  set(frameworkId: FrameworkId, roles: readonly string[], suppressed: readonly string[]): void
  setActive(frameworkId: FrameworkId, state: 'active' | 'inactive'): void
  setSuppressed(frameworkId: FrameworkId, state: 'suppressed' | 'unsuppressed', roles?: readonly string[]): void
  remove(frameworkId: FrameworkId): void
  tally(grant: Grant, sign: 1 | -1): void
  isActive(frameworkId: FrameworkId): boolean
  rolesOf(frameworkId: FrameworkId): readonly string[]
  inRole(role: string): readonly FrameworkId[]
  roles(): Iterable<string>
  /** Clients of one framework, or of all. */
  clients(frameworkId?: FrameworkId): Iterable<Client>
  /** The neediest of the role that `accept` takes. */
  find(role: string, accept: (key: ClientKey) => boolean): Client | undefined
  /** The present moment, monotonic, as far as it is known: for `servedMs`. */
  nowMs: number
}

interface Framework {
  active: boolean
  readonly clients: Map<string, Client>
}

interface Role {
  readonly clients: Map<ClientKey, Client>
  readonly sorter: Sorter<ClientKey>
}

/** Opens an empty table; `tree` is told which roles have somebody to serve. */
export function openFrameworkTable(total: ClusterTotal, tree: RoleTree): FrameworkTable {
  const frameworks = new Map<FrameworkId, Framework>()
  const roles = new Map<string, Role>()
  const roleOf = (role: string) =>
    getOrMake(roles, role, () => ({ clients: new Map(), sorter: openSorter<ClientKey>(total) }))
  const frameworkOf = (id: FrameworkId) =>
    getOrMake(frameworks, id, (): Framework => ({ active: false, clients: new Map() }))
  const clientOf = (frameworkId: FrameworkId, role: string): Client =>
    getOrMake(frameworkOf(frameworkId).clients, role, () => {
      const key = clientKey(frameworkId, role)
      const client = { key, frameworkId, role, subscribed: false, suppressed: false, servedMs: table.nowMs }
      const { clients, sorter } = roleOf(role)
      clients.set(key, client)
      sorter.add(key, 1)
      return client
    })
  /** Puts a client into the order or takes it out, as its state says; forgets it when nothing is left of it. */
  const settle = ({ key, frameworkId, role, subscribed, suppressed }: Client) => {
    const { clients, sorter } = roleOf(role)
    const framework = frameworkOf(frameworkId)
    sorter.setActive(key, framework.active && subscribed && !suppressed ? 'active' : 'inactive')
    tree.setActive(role, sorter.hasActive() ? 'active' : 'inactive')
    if (subscribed || sorter.grants(key) > 0) return
    sorter.remove(key)
    clients.delete(key)
    framework.clients.delete(role)
    if (framework.clients.size === 0) frameworks.delete(frameworkId)
  }
  const all = (id: FrameworkId) => [...(frameworks.get(id)?.clients.values() ?? [])]
  const subscribedOf = (id: FrameworkId) => all(id).filter(({ subscribed }) => subscribed)
  const table: FrameworkTable = {
    nowMs: 0,
    set: (id, wanted, suppressed) => {
      for (const role of wanted) clientOf(id, role)
      frameworkOf(id).active = true
      for (const client of all(id)) {
        client.subscribed = wanted.includes(client.role)
        client.suppressed = suppressed.includes(client.role)
        settle(client)
      }
    },
    setActive: (id, state) => {
      const framework = frameworks.get(id)
      if (framework === undefined) return
      framework.active = state === 'active'
      for (const client of all(id)) settle(client)
    },
    setSuppressed: (id, state, of) => {
      for (const client of subscribedOf(id)) {
        if (of !== undefined && of.length > 0 && !of.includes(client.role)) continue
        client.suppressed = state === 'suppressed'
        settle(client)
      }
    },
    remove: (id) => {
      for (const client of all(id)) {
        client.subscribed = false
        settle(client)
      }
    },
    tally: ({ frameworkId, role, resources, reserved = [] }, sign) => {
      const amount = wholeOfShare({ unreserved: resources, reserved })
      const client = clientOf(frameworkId, role)
      roleOf(role).sorter.tally(client.key, amount, sign)
      tree.tally(role, amount, sign)
      if (sign < 0 && !client.subscribed) settle(client)
    },
    isActive: (id) => frameworks.get(id)?.active === true,
    rolesOf: (id) => subscribedOf(id).map(({ role }) => role),
    inRole: (role) =>
      [...(roles.get(role)?.clients.values() ?? [])].flatMap((client) =>
        client.subscribed ? [client.frameworkId] : [],
      ),
    roles: () => [...roles].filter(([, { clients }]) => clients.size > 0).map(([role]) => role),
    clients: (id) => (id === undefined ? [...frameworks.keys()].flatMap(subscribedOf) : subscribedOf(id)),
    find: (role, accept) => {
      const found = roles.get(role)
      const key = found?.sorter.find(accept)
      return key === undefined ? undefined : found?.clients.get(key)
    },
  }
  return table
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  return made
}
