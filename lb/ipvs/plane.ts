import { cidrContains } from '../../core/base/cidr.ts'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Cidr, type Ip, parseIp } from '../../core/base/ip.ts'
import { type VipScheduler, vipSchedulers } from '../../core/model/vip.ts'
import { type NftTable } from '../../networking/nft/table.ts'
import {
  compareBackends,
  type DataPlane,
  formatVirtualServerKey,
  type LbOp,
  type RealServer,
  type VirtualServer,
} from '../dataplane.ts'
import { formatIpvsOp, formatServiceId, formatTimeouts } from './format.ts'
import { differsAtAGlance } from './glance.ts'
import { guardSet } from './guard.ts'
import { type Guard, type GuardState } from './guard-apply.ts'
import { type IpvsEntry, type IpvsTable } from './ops.ts'
import { ipvsEntry, ipvsState, planIpvs, planIpvsEntry } from './plan.ts'
import { desiredTimeouts, type IpvsSysctl, planSettings } from './settings.ts'

/** What the data plane works with. */
export interface IpvsPlaneOptions {
  readonly table: IpvsTable
  readonly sysctl: IpvsSysctl
  /** `uname -r`, for settings that depend on it. */
  readonly kernelRelease: string
  /** Addresses in these are ours, whoever programmed them: VIPs that an earlier process left are swept. */
  readonly ranges: readonly Cidr[]
  /** Absent where the kernel has no nftables: ICMP instead of resets, and no hairpin. */
  readonly guard?: Guard
  /** Reads /proc/net/ip_vs of the node; absent: no quick look. */
  readonly glance?: () => string
  /** Told when what others have in the table is not what it was at the last audit. */
  readonly onForeign?: (entries: readonly string[]) => void
}

/** What the kernel has, as far as it is known. */
interface Known {
  readonly servers: Map<string, VirtualServer>
  readonly entries: Map<string, IpvsEntry>
  readonly guard: GuardState | undefined
}

/** What a reading found. */
interface Reading {
  readonly ours: Map<string, IpvsEntry>
  readonly foreign: readonly string[]
  readonly nft: NftTable | undefined
}

/**
 * Virtual servers in the kernel's IPVS. Keeps what the kernel has, and sends differences; reads it at first use and after
 * a failure. The table is shared: what is neither in our ranges nor wanted nor known as ours (a VIP that a label gave) is
 * left as it is. A foreign service at an address that is wanted becomes ours: there can be only one.
 */
export function openIpvsPlane(options: IpvsPlaneOptions): DataPlane {
  const plane = new IpvsPlane(options)
  return {
    name: 'ipvs',
    read: async ({ signal }) => plane.read(signal),
    apply: async (ops, { signal }) => plane.apply(ops, signal),
    repair: async (servers, { signal }) => plane.repair(servers, signal),
    ...(options.glance && { differs: async () => plane.differs() }),
    close: () => options.table.close(),
  }
}

class IpvsPlane {
  readonly #options: IpvsPlaneOptions
  #known: Known | undefined
  #foreign = ''

  constructor(options: IpvsPlaneOptions) {
    this.#options = options
  }

  /** Of nftables others' changes are noticed elsewhere. */
  differs(): boolean {
    const text = this.#known === undefined ? undefined : this.#options.glance?.()
    return text !== undefined && differsAtAGlance(text, this.#known?.entries.values() ?? [])
  }

  async read(signal: AbortSignal): Promise<readonly VirtualServer[]> {
    const { ours, nft } = await this.#look([], signal)
    return [...ours.values()].map((entry) => toServer(entry, nft))
  }

  async apply(ops: readonly LbOp[], signal: AbortSignal): Promise<void> {
    if (ops.length === 0) return
    if (this.#known === undefined) await this.repair(await this.read(signal), signal)
    const known = this.#known
    if (known === undefined) throw new AppError('ERR_LB_STATE', 'the IPVS data plane could not be read')
    try {
      await this.#perform(known, ops, signal)
    } catch (error) {
      this.#known = undefined
      signal.throwIfAborted()
      // Somebody changed our entries, so the difference does not fit: compare with what is there.
      await this.repair([...serversAfter(known.servers, ops).values()], signal).catch((again: unknown) => {
        throw new AggregateError([error, again], `programming virtual servers failed: ${errorMessage(again)}`)
      })
    }
  }

  /** The guard first: what comes is let in or translated before it is balanced; what goes was refused before. */
  async #perform(known: Known, ops: readonly LbOp[], signal: AbortSignal): Promise<void> {
    if (known.guard !== undefined) await this.#options.guard?.apply(known.guard, { before: known.servers, ops, signal })
    const steps = ops.flatMap((op) => {
      const key = formatVirtualServerKey(op.server)
      const after = op.kind === 'server.ensure' ? ipvsEntry(op.server) : undefined
      const planned = planIpvsEntry(known.entries.get(key), after)
      if (after === undefined) known.entries.delete(key)
      else known.entries.set(key, after)
      if (op.kind === 'server.ensure') known.servers.set(key, op.server)
      else known.servers.delete(key)
      return planned
    })
    await this.#options.table.perform(steps, { signal })
  }

  /** IPVS before the guard: a data plane that the guard's table had before goes only when this one answers. */
  async repair(servers: readonly VirtualServer[], signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted()
    const { table, guard, onForeign } = this.#options
    const { ours, foreign, nft: actual } = await this.#look(servers, signal)
    this.#known = undefined
    const settings = this.#repairSettings()
    const entries = ipvsState(servers.map(ipvsEntry))
    const ops = planIpvs(ours, entries)
    await table.perform(ops, { signal })
    const guarded = await guard?.repair(servers, { actual, signal })
    this.#known = {
      servers: new Map(servers.map((server) => [formatVirtualServerKey(server), server])),
      entries,
      guard: guarded?.state,
    }
    if (foreign.join() !== this.#foreign) onForeign?.(foreign)
    this.#foreign = foreign.join()
    return [...settings, ...ops.map(formatIpvsOp), ...(guarded?.repaired ?? [])]
  }

  #repairSettings(): readonly string[] {
    const { table, sysctl, kernelRelease } = this.#options
    const settings = planSettings(sysctl, kernelRelease)
    for (const { name, value } of settings) sysctl.write(name, value)
    const changed = settings.map(({ name, value }) => `sysctl -w ${name}=${value}`)
    if (JSON.stringify(table.timeouts()) === JSON.stringify(desiredTimeouts)) return changed
    table.setTimeouts(desiredTimeouts)
    return [...changed, formatTimeouts(desiredTimeouts)]
  }

  async #look(wanted: readonly VirtualServer[], signal: AbortSignal): Promise<Reading> {
    const { table, guard } = this.#options
    const nft = await guard?.read({ signal })
    const addresses = new Set<Ip>(wanted.map(({ address }) => address))
    for (const { address } of this.#known?.servers.values() ?? []) addresses.add(address)
    for (const family of [4, 6] as const) {
      for (const key of nft?.sets.get(guardSet('address', family))?.elements.keys() ?? []) addresses.add(parseIp(key))
    }
    const { entries, others } = table.read()
    const isOurs = ({ service: { address } }: IpvsEntry) =>
      addresses.has(address) || this.#options.ranges.some((range) => cidrContains(range, address))
    const foreign = entries.filter((entry) => !isOurs(entry)).map(({ service }) => formatServiceId(service))
    return { ours: ipvsState(entries.filter(isOurs)), foreign: [...foreign, ...others], nft }
  }
}

/** Only when something failed: copying 10,000 servers takes longer than changing one. */
function serversAfter(before: ReadonlyMap<string, VirtualServer>, ops: readonly LbOp[]): Map<string, VirtualServer> {
  const servers = new Map(before)
  for (const op of ops) {
    const key = formatVirtualServerKey(op.server)
    if (op.kind === 'server.ensure') servers.set(key, op.server)
    else servers.delete(key)
  }
  return servers
}

function toServer({ service, destinations }: IpvsEntry, nft: NftTable | undefined): VirtualServer {
  const { address, port, protocol } = service
  const family = address.includes(':') ? 6 : 4
  const hairpin = nft?.sets.get(guardSet('hairpin', family))?.elements
  const backends = destinations.map((one): RealServer => {
    const local = one.weight > 0 && hairpin?.has(`${one.address} . ${one.address}`) === true
    return { address: one.address, port: one.port, weight: one.weight, ...(local ? { local: true } : {}) }
  })
  const scheduler = vipSchedulers.find((known): known is VipScheduler => known === service.scheduler)
  const server = { address, port, protocol, backends: backends.toSorted(compareBackends) }
  return scheduler === undefined || scheduler === 'wlc' ? server : { ...server, scheduler }
}
