import { type Ip, ipFamily } from '../../core/base/ip.ts'
import { type Name, nameKey, nameOfLabels } from '../dns/name.ts'
import { formatRdata, type Rdata } from '../dns/rdata.ts'

/** What one entity of the cluster (a task, a node, …) adds to the zones. Several may add the same; it counts once. */
export type Contribution =
  | { readonly kind: 'record'; readonly owner: Name; readonly data: Rdata }
  /** A zone that begins here. */
  | { readonly kind: 'apex'; readonly owner: Name }

/** Identity of a contribution: equal text, equal thing. */
export function contributionKey(contribution: Contribution): string {
  const owner = nameKey(contribution.owner)
  if (contribution.kind === 'apex') return `${owner} apex`
  const { data } = contribution
  return `${owner} ${data.type === 'unknown' ? data.code : data.type} ${formatRdata(data)}`
}

/**
 * The name of the labels, or `undefined` where they make none (an empty label, one over 63 octets, over 255 in all): one
 * odd task name must never hide the others.
 */
export function usableName(labels: readonly string[]): Name | undefined {
  if (labels.some((label) => label.length === 0 || label.length > 63)) return undefined
  if (labels.reduce((sum, label) => sum + label.length + 1, 1) > 255) return undefined
  return nameOfLabels(labels)
}

/** A and AAAA records; none without a name. */
export function addressRecords(owner: Name | undefined, addresses: readonly Ip[]): readonly Contribution[] {
  if (owner === undefined) return []
  return addresses.map((address) => ({
    kind: 'record',
    owner,
    data: { type: ipFamily(address) === 4 ? 'A' : 'AAAA', address },
  }))
}

/** A PTR record. */
export function pointerRecord(owner: Name, target: Name): Contribution {
  return { kind: 'record', owner, data: { type: 'PTR', target } }
}

/** An SRV record with Mesos-DNS's priority 0; none without both names. */
export function serviceRecords(
  owner: Name | undefined,
  target: Name | undefined,
  { port, weight }: { readonly port: number; readonly weight: number },
): readonly Contribution[] {
  if (owner === undefined || target === undefined) return []
  return [{ kind: 'record', owner, data: { type: 'SRV', priority: 0, weight, port, target } }]
}

/** The first address of each IP version: what Mesos-DNS serves of a host that has several. */
export function firstOfEachFamily(addresses: readonly Ip[]): readonly Ip[] {
  const v4 = addresses.find((address) => !address.includes(':'))
  const v6 = addresses.find((address) => address.includes(':'))
  return [v4, v6].filter((address) => address !== undefined)
}
