import { openNetns } from '../../../networking/netns.ts'
import { type Flow } from '../../../networking/isolation/judge.ts'
import { policyChainName } from '../../../networking/isolation/policy-chains.ts'
import { openConntrack } from '../../../networking/netlink/conntrack.ts'
import { openNftProcess } from '../../../networking/nft/process.ts'
import { nftTable } from '../../../networking/protocol.ts'
import { type GlobalOptions } from '../program.ts'
import { type HostLayout, netnsPath } from '../up/layout.ts'
import { targetLayout } from './target.ts'

/** A flow that a host tracks now, by its true ends: the reply's source is where it goes, after a VIP's translation. */
export interface RecordedFlow extends Flow {
  readonly host: string
}

/** RFC 5237 numbers of the protocols whose flows are read, and in which IP version. */
const kinds = [
  { protocol: 'tcp', family: 4, number: 6 },
  { protocol: 'tcp', family: 6, number: 6 },
  { protocol: 'udp', family: 4, number: 17 },
  { protocol: 'udp', family: 6, number: 17 },
  { protocol: 'icmp', family: 4, number: 1 },
  { protocol: 'icmp', family: 6, number: 58 },
] as const

/** What all hosts of the local cluster track; the first host that tells a flow counts. */
export async function recordedFlows(globals: GlobalOptions): Promise<readonly RecordedFlow[]> {
  const flows = new Map<string, RecordedFlow>()
  for (const host of targetLayout(globals).hosts) {
    for (const flow of await hostFlows(host)) {
      const key = [flow.source, flow.destination, flow.protocol, flow.port].join(' ')
      if (!flows.has(key)) flows.set(key, flow)
    }
  }
  return [...flows.values()]
}

async function hostFlows({ name, netns }: HostLayout): Promise<readonly RecordedFlow[]> {
  const conntrack = openConntrack({ netns: netnsPath(netns) })
  try {
    const flows: RecordedFlow[] = []
    for (const { protocol, family, number } of kinds) {
      for (const { original, reply } of await conntrack.list({ family, protocol: number })) {
        const [{ source }, { source: destination, sourcePort: port }] = [original, reply]
        if (source === undefined || destination === undefined) continue
        flows.push({ host: name, source, destination, protocol, ...(port === undefined ? {} : { port }) })
      }
    }
    return flows
  } finally {
    conntrack.close()
  }
}

/** What a policy's chain has counted on one host. */
export interface PolicyCounter {
  readonly host: string
  readonly packets: number
  readonly bytes: number
}

/** Reads the counter on each host of the local cluster; none for a cluster elsewhere. */
export async function policyCounters(globals: GlobalOptions, name: string): Promise<readonly PolicyCounter[]> {
  if (globals.master !== undefined) return []
  const counters: PolicyCounter[] = []
  const { signal } = new AbortController()
  for (const host of targetLayout(globals).hosts) {
    const { fd, close } = openNetns(netnsPath(host.netns))
    try {
      const nft = openNftProcess({ namespace: { fd, inside: (_, run) => run() } })
      const table = await nft.readTable(nftTable, { signal })
      const [rule] = table?.chains.get(policyChainName(name))?.rules ?? []
      if (rule !== undefined) counters.push({ host: host.name, packets: rule.packets ?? 0, bytes: rule.bytes ?? 0 })
    } finally {
      close()
    }
  }
  return counters
}
