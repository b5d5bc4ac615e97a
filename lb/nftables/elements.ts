import { ipFamily, parseIp } from '../../core/base/ip.ts'
import { type Protocol } from '../../core/model/task.ts'
import { elementFields, elementKey, type NftTable } from '../../networking/nft/table.ts'
import { type LbElement } from '../counted.ts'
import { compareBackends, type RealServer, type VirtualServer } from '../dataplane.ts'
import { type PickMethod, schedulerOf, sharesOf } from './shares.ts'
import { pickMethod, pickName, refuseChain, setName, type SetRole, slotName, slotPrefix } from './skeleton.ts'

/**
 * The elements of one virtual server. A server whose backends all have weight 0 keeps its entry, which leads to the chain
 * that lets the packet go on untranslated, to be refused.
 */
export function serverElements(server: VirtualServer): readonly LbElement[] {
  const family = ipFamily(server.address)
  const of = (role: SetRole, key: string, value = ''): LbElement => ({ set: setName(role, family), key, value })
  const service = elementKey(server.address, server.protocol, server.port)
  const { slots, ...pick } = sharesOf(server)
  const draining = server.backends.filter(({ weight }) => weight === 0)
  const local = server.backends.filter(({ weight, local: here }) => weight > 0 && here === true)
  return [
    of('service', service, `goto ${pick.size === 0 ? refuseChain : pickName(family, pick)}`),
    of('address', server.address),
    ...slots.map(({ address, port }, slot) => ({
      set: slotName(family, slot),
      key: service,
      value: elementKey(address, port),
    })),
    ...draining.map(({ address, port }) => of('draining', elementKey(service, address, port))),
    ...local.map(({ address }) => of('hairpin', elementKey(address, address))),
  ]
}

/**
 * The servers that a table's elements say, whatever made them. Elements that fit no server are passed over. Weights are in
 * lowest terms, and a scheduler is one that comes to the same here: all else the kernel has forgotten.
 */
export function readServers(table: NftTable): readonly VirtualServer[] {
  return ([4, 6] as const).flatMap((family) => {
    const keys = (role: SetRole) => [...(table.sets.get(setName(role, family))?.elements ?? [])]
    const slots = [...table.sets.values()].filter(({ name }) => name.startsWith(slotPrefix(family)))
    const hairpin = new Set(keys('hairpin').map(([key]) => elementFields(key)[0]))
    const found = new Map<string, Found>()
    for (const [key, value] of keys('service')) {
      found.set(key, { method: pickMethod(value.replace('goto ', '')) ?? 'random', backends: new Map() })
    }
    const add = (service: string, value: string, weight: 0 | 1) => {
      const backends = found.get(service)?.backends
      backends?.set(value, (backends.get(value) ?? 0) + weight)
    }
    for (const { elements } of slots) for (const [key, value] of elements) add(key, value, 1)
    for (const [key] of keys('draining')) add(...splitDraining(key), 0)
    return [...found].map(([key, one]) => toServer(key, one, hairpin))
  })
}

/** What was read of a server: weights by address and port. */
interface Found {
  readonly method: PickMethod
  readonly backends: Map<string, number>
}

function toServer(key: string, { method, backends: weights }: Found, hairpin: ReadonlySet<string | undefined>) {
  const [address = '', protocol, port] = elementFields(key)
  const backends = [...weights].map(([backend, weight]): RealServer => {
    const [to = '', toPort] = elementFields(backend)
    const local = weight > 0 && hairpin.has(to) ? ({ local: true } as const) : {}
    return { address: parseIp(to), port: Number(toPort), weight, ...local }
  })
  return {
    ...{ address: parseIp(address), port: Number(port), protocol: parseProtocol(protocol) },
    ...{ backends: backends.toSorted(compareBackends), ...schedulerOf(method, backends) },
  }
}

/** Service and backend of a draining one's key. */
function splitDraining(key: string): readonly [string, string] {
  const fields = elementFields(key)
  return [elementKey(...fields.slice(0, 3)), elementKey(...fields.slice(3))]
}

function parseProtocol(text: string | undefined): Protocol {
  return text === 'udp' ? 'udp' : 'tcp'
}
