import { errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type Lease, type LeaseKey, leaseKeyText, type LeasePortMapping } from '../ipam/lease.ts'
import { type ConntrackTable, type Flow } from '../netlink/conntrack.ts'
import { type Nft } from '../nft/nft.ts'
import { formatNftOp, type NftOp } from '../nft/ops.ts'
import { planElements, planNftTable } from '../nft/plan.ts'
import { dnsAddress } from '../protocol.ts'
import { makePortClaims, type PortClaims } from './claims.ts'
import { desiredPortmap, portmapElements, type PortmapElements, portmapOwner } from './desired.ts'
import { type PortMapping, portMappingsOf } from './mapping.ts'

/** Makes host ports lead to containers. Leases carry what is wanted, so that a restart forgets nothing. */
export interface PortMapper {
  /** All or none. @throws ERR_PORTMAP_TAKEN when another mapping has a host port; ERR_NFT_*, ERR_NETLINK_* */
  add(key: LeaseKey, addresses: readonly Ip[], mappings: readonly LeasePortMapping[]): Promise<void>
  /**
   * Idempotent; called before the address is released. UDP flows through the mappings are forgotten.
   * @throws ERR_NFT_*, ERR_NETLINK_*
   */
  remove(key: LeaseKey): Promise<void>
}

/** Addresses that are no host addresses though they are local: VIPs. */
export interface AddressGuard {
  /** Before they become local. @throws ERR_NFT_* */
  add(addresses: readonly Ip[]): Promise<void>
  /** When they are local no more. @throws ERR_NFT_* */
  remove(addresses: readonly Ip[]): Promise<void>
  /** These and no others. @throws ERR_NFT_* */
  replace(addresses: readonly Ip[]): Promise<void>
}

/** The port mapper with what the node daemon's pipeline needs of it. */
export interface Portmap {
  readonly mapper: PortMapper
  readonly guard: AddressGuard
  /** Compares the kernel with the leases. @returns what was done, as commands of nft */
  repair(options: { readonly signal: AbortSignal }): Promise<readonly string[]>
}

/** What it works with. */
export interface PortmapOptions {
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
  /** Those that exist now: what a repair makes true. */
  readonly leases: () => readonly Lease[]
  readonly conntrack: Pick<ConntrackTable, 'forget'>
  /** Lets the node's end of this container's link carry packets of loopback addresses. */
  readonly allowLoopback: (key: LeaseKey) => void
}

/** include/uapi/linux/in.h */
const IPPROTO_UDP = 17

/** How many elements of one op a repair shows. */
const shownElements = 8

interface State {
  readonly claims: PortClaims
  readonly except: Set<Ip>
  /** What the kernel has; undefined: not known. */
  known: PortmapElements | undefined
}

/** Opens it; nothing is read or changed before the first call. */
export function openPortmap(options: PortmapOptions): Portmap {
  const state: State = { claims: newClaims(), except: new Set([parseIp(dnsAddress)]), known: undefined }
  const { signal: never } = new AbortController()
  let queue: Promise<unknown> = Promise.resolve()
  const exclusive = <T>(task: () => Promise<T>): Promise<T> => {
    const run = queue.then(task)
    queue = run.catch(() => undefined) // told to the caller of `run`
    return run
  }
  const change = (addresses: readonly Ip[], step: (address: Ip) => unknown) =>
    exclusive(async () => {
      for (const address of addresses) step(address)
      await program(options, state, never)
    })
  return {
    mapper: {
      add: (key, addresses, mappings) =>
        exclusive(() => addMappings(options, state, { key, mappings: portMappingsOf(addresses, mappings) })),
      remove: (key) => exclusive(() => removeMappings(options, state, key)),
    },
    guard: {
      add: (addresses) => change(addresses, (address) => state.except.add(address)),
      remove: (addresses) => change(addresses, (address) => state.except.delete(address)),
      replace: (addresses) => {
        state.except.clear()
        return change([parseIp(dnsAddress), ...addresses], (address) => state.except.add(address))
      },
    },
    repair: ({ signal }) => exclusive(() => repair(options, state, signal)),
  }
}

function newClaims(): PortClaims {
  return makePortClaims((owner) => {
    const [network, container, ifname] = owner.split('\0')
    return `container ${container} (${ifname}, network ${network})`
  })
}

interface Addition {
  readonly key: LeaseKey
  readonly mappings: readonly PortMapping[]
}

async function addMappings(options: PortmapOptions, state: State, { key, mappings }: Addition): Promise<void> {
  if (mappings.length === 0) return
  const owner = leaseKeyText(key)
  state.claims.claim(owner, mappings)
  try {
    if (mappings.some(usesLoopback)) options.allowLoopback(key)
    await program(options, state, new AbortController().signal)
  } catch (error) {
    state.claims.release(owner)
    state.known = undefined
    throw error
  }
  // Flows that began while the port led nowhere would go on leading there.
  for (const mapping of mappings) await forgetFlows(options, mapping, 'before')
}

async function removeMappings(options: PortmapOptions, state: State, key: LeaseKey): Promise<void> {
  const owner = leaseKeyText(key)
  const { signal } = new AbortController()
  if (state.known === undefined) await repair(options, state, signal) // an earlier process may have made some
  const mappings = state.claims.of(owner)
  if (mappings.length === 0) return
  state.claims.release(owner)
  try {
    await program(options, state, signal)
  } catch (error) {
    state.claims.claim(owner, mappings)
    state.known = undefined
    throw error
  }
  for (const mapping of mappings) await forgetFlows(options, mapping, 'through')
}

/** Sends the difference between what the kernel has and what it should have. */
async function program({ nft, table, leases }: PortmapOptions, state: State, signal: AbortSignal): Promise<void> {
  const wanted = portmapElements(state.claims.all(), state.except)
  const before = state.known
  if (before === undefined) return void (await repair({ nft, table, leases }, state, signal))
  const ops = [...wanted].flatMap(([set, elements]) => planElements(set, elements, before.get(set) ?? new Map()))
  state.known = undefined // until it went well
  try {
    await nft.apply({ table, ops }, { signal })
    state.known = wanted
  } catch (error) {
    // Somebody changed our objects, so the difference does not fit: compare with what is there.
    await repair({ nft, table, leases }, state, signal).catch((again: unknown) => {
      throw new AggregateError([error, again], `programming port mappings failed: ${errorMessage(again)}`)
    })
  }
}

async function repair(
  { nft, table, leases }: Pick<PortmapOptions, 'nft' | 'table' | 'leases'>,
  state: State,
  signal: AbortSignal,
): Promise<readonly string[]> {
  learn(state.claims, leases())
  const wanted = portmapElements(state.claims.all(), state.except)
  state.known = undefined
  const actual = await nft.readTable(table, { signal })
  const ops: readonly NftOp[] = planNftTable({ owner: portmapOwner, desired: desiredPortmap(wanted), actual })
  await nft.apply({ table, ops }, { signal })
  state.known = wanted
  return ops.map((op) => `nft ${formatNftOp(table, op, { shown: shownElements })}`)
}

/** Takes up the leases of an earlier process. Of two that clash, which no daemon makes, the first has the port. */
function learn(claims: PortClaims, leases: readonly Lease[]): void {
  for (const lease of leases) {
    const owner = leaseKeyText(lease)
    const { addresses, portMappings = [], state } = lease
    if (state !== undefined || portMappings.length === 0 || claims.of(owner).length > 0) continue
    try {
      claims.claim(owner, portMappingsOf(addresses, portMappings))
    } catch (error) {
      if (!hasCode(error, 'ERR_PORTMAP_TAKEN')) throw error
    }
  }
}

function usesLoopback({ family, hostIp }: PortMapping): boolean {
  return family === 4 && (hostIp === undefined || hostIp.startsWith('127.'))
}

async function forgetFlows(
  { conntrack }: Pick<PortmapOptions, 'conntrack'>,
  mapping: PortMapping,
  which: 'before' | 'through',
): Promise<void> {
  if (mapping.protocol !== 'udp') return // others begin anew by themselves
  const { family, hostIp, hostPort, address, containerPort } = mapping
  const original = { destinationPort: hostPort, ...(hostIp === undefined ? {} : { destination: hostIp }) }
  const filter = { family, protocol: IPPROTO_UDP, original }
  if (which === 'before') await conntrack.forget(filter, isUntranslated)
  else await conntrack.forget({ ...filter, reply: { source: address, sourcePort: containerPort } })
}

function isUntranslated({ original, reply }: Flow): boolean {
  return original.destination === reply.source && original.destinationPort === reply.sourcePort
}
