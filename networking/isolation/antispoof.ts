import { keyedSerial } from '../../core/base/serial.ts'
import { type Nft } from '../nft/nft.ts'
import { type NftOp } from '../nft/ops.ts'
import { planNftTable } from '../nft/plan.ts'
import { type Binding, bindingElements, desiredGuard, spoofOwner } from './bindings.ts'

/** Lets containers send only from their own addresses, Ethernet and IP. */
export interface Antispoof {
  /** Before the interface carries anything. @throws ERR_NFT_*: the container must not start */
  bind(binding: Binding): Promise<void>
  /** After the interface is gone. Idempotent. @throws ERR_NFT_* */
  unbind(binding: Binding): Promise<void>
  /** Makes the kernel's objects what the leases say. @returns what it had to do */
  repair(options: { readonly signal: AbortSignal }): Promise<readonly NftOp[]>
}

/** What it works with. */
export interface AntispoofOptions {
  readonly nft: Nft
  /** Name of Weft's table of family inet. */
  readonly table: string
  /** All that are bound: what an audit makes the kernel be. */
  readonly leases: () => readonly Binding[]
}

/** Opens it; the kernel is read, and swept of what an earlier daemon left, by the first call that needs it. */
export function openAntispoof({ nft, table, leases }: AntispoofOptions): Antispoof {
  const serial = keyedSerial()
  const never = new AbortController().signal
  /** Elements that are in the kernel; undefined: not known, so that the next call compares all. */
  let present: Set<string> | undefined
  const compare = async (bindings: readonly Binding[], signal: AbortSignal): Promise<readonly NftOp[]> => {
    present = undefined
    const actual = await nft.readTable(table, { signal })
    const ops = planNftTable({ owner: spoofOwner, desired: desiredGuard(bindings), actual })
    await nft.apply({ table, ops }, { signal })
    present = new Set([...bindingElements(bindings).values()].flat())
    return ops
  }
  const change = async (kind: 'element.add' | 'element.delete', binding: Binding) => {
    const known = present ?? new Set<string>()
    present = undefined // until it went well
    const wanted = kind === 'element.add'
    const changes = [...bindingElements([binding])].map(([set, keys]) => {
      return { set, keys: keys.filter((key) => known.has(key) !== wanted) }
    })
    const ops = changes
      .filter(({ keys }) => keys.length > 0)
      .map(({ set, keys }): NftOp => ({ kind, set, elements: keys.map((key) => ({ key })) }))
    await nft.apply({ table, ops }, { signal: never })
    for (const key of changes.flatMap(({ keys }) => keys)) {
      if (wanted) known.add(key)
      else known.delete(key)
    }
    present = known
  }
  const others = ({ hostLink }: Binding) => leases().filter((lease) => lease.hostLink !== hostLink)
  return {
    bind: (binding) =>
      serial(table, async () => {
        if (present === undefined) await compare([...others(binding), binding], never)
        else await change('element.add', binding)
      }),
    unbind: (binding) =>
      serial(table, async () => {
        if (present === undefined) await compare(others(binding), never)
        else await change('element.delete', binding)
      }),
    repair: ({ signal }) => serial(table, () => compare(leases(), signal)),
  }
}
