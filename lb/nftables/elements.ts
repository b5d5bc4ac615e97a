import { ipFamily, parseIp } from '../../core/base/ip.ts'
import { type Protocol } from '../../core/model/task.ts'
import { elementFields, elementKey, type NftTable } from '../../networking/nft/table.ts'
import { type LbElement } from '../counted.ts'
import { compareBackends, type RealServer, type VirtualServer } from '../dataplane.ts'
import { pickName, refuseChain, setName, type SetRole, slotName, slotPrefix } from './skeleton.ts'

/**
 * The elements of one virtual server. A server whose backends all have weight 0 keeps its entry, which leads to the chain
 * that lets the packet go on untranslated, to be refused.
 */
export function serverElements(server: VirtualServer): readonly LbElement[] {
  const family = ipFamily(server.address)
  const of = (role: SetRole, key: string, value = ''): LbElement => ({ set: setName(role, family), key, value })
  const service = elementKey(server.address, server.protocol, server.port)
  const active = server.backends.filter(({ weight }) => weight > 0)
  const draining = server.backends.filter(({ weight }) => weight === 0)
  const local = active.filter((backend) => backend.local === true)
  return [
    of('service', service, `goto ${active.length === 0 ? refuseChain : pickName(family, active.length)}`),
    of('address', server.address),
    ...active.map(({ address, port }, slot) => ({
      set: slotName(family, slot),
      key: service,
      value: elementKey(address, port),
    })),
    ...draining.map(({ address, port }) => of('draining', elementKey(service, address, port))),
    ...local.map(({ address }) => of('hairpin', elementKey(address, address))),
  ]
}

/** The servers that a table's elements say, whatever made them. Elements that fit no server are passed over. */
export function readServers(table: NftTable): readonly VirtualServer[] {
  return ([4, 6] as const).flatMap((family) => {
    const keys = (role: SetRole) => [...(table.sets.get(setName(role, family))?.elements ?? [])]
    const slots = [...table.sets.values()].filter(({ name }) => name.startsWith(slotPrefix(family)))
    const hairpin = new Set(keys('hairpin').map(([key]) => elementFields(key)[0]))
    const servers = new Map<string, VirtualServer & { readonly backends: RealServer[] }>()
    for (const [key] of keys('service')) {
      const [address = '', protocol, port] = elementFields(key)
      servers.set(key, {
        address: parseIp(address),
        port: Number(port),
        protocol: parseProtocol(protocol),
        backends: [],
      })
    }
    const add = (service: string, fields: readonly string[], weight: number) => {
      const [address = '', port] = fields
      const local = weight > 0 && hairpin.has(address) ? ({ local: true } as const) : {}
      servers.get(service)?.backends.push({ address: parseIp(address), port: Number(port), weight, ...local })
    }
    for (const { elements } of slots) for (const [key, value] of elements) add(key, elementFields(value), 1)
    for (const [key] of keys('draining')) add(serviceOf(key), elementFields(key).slice(3), 0)
    return [...servers.values()].map((server) => ({ ...server, backends: server.backends.toSorted(compareBackends) }))
  })
}

function serviceOf(key: string): string {
  return elementFields(key).slice(0, 3).join(' . ')
}

function parseProtocol(text: string | undefined): Protocol {
  return text === 'udp' ? 'udp' : 'tcp'
}
