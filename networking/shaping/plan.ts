import { AppError } from '../../core/base/errors.ts'
import { type Bandwidth } from '../ipam/lease.ts'
import { type RouteOp } from '../netlink/ops.ts'
import { type TrafficOp } from '../netlink/traffic.ts'
import { linkPrefix } from '../protocol.ts'

/** How long a packet may wait before it is dropped, at the limit. Source: containernetworking/plugins, bandwidth. */
const latencyMs = 25n
/** Smallest burst when none is asked for: two packets as large as segmentation offload makes them. */
const leastBurstBytes = 131_072
/** What a rate fills in this time is the default burst of a faster one. */
const burstMs = 5n
/** TCA_TBF_BURST and the queue's limit are 32 bits wide. */
const mostBytes = 0xffffffffn

/** What limiting one container takes, in order. */
export interface ShapingPlan {
  readonly links: readonly RouteOp[]
  readonly traffic: readonly TrafficOp[]
}

/**
 * Towards the container: a token bucket on the node's end. From it: what arrives on the node's end goes through an ifb
 * device with a token bucket of its own. Not on the container's end, which a container with CAP_NET_ADMIN could undo; not
 * by policing, which drops where a queue delays.
 * @throws ERR_SHAPING_RATE when a rate is under one octet a second
 */
export function planShaping(hostLink: string, bandwidth: Bandwidth): ShapingPlan {
  const { ingressBitsPerSecond, ingressBurstBits, egressBitsPerSecond, egressBurstBits } = bandwidth
  const inwards = ingressBitsPerSecond === undefined ? [] : [bucket(hostLink, ingressBitsPerSecond, ingressBurstBits)]
  if (egressBitsPerSecond === undefined) return { links: [], traffic: inwards }
  const helper = shapingLinkName(hostLink)
  return {
    links: [
      { kind: 'link.add', link: { type: 'ifb', name: helper } },
      { kind: 'link.set', name: helper, change: { state: 'up' } },
    ],
    traffic: [
      ...inwards,
      bucket(helper, egressBitsPerSecond, egressBurstBits),
      { kind: 'redirect.replace', device: hostLink, target: helper },
    ],
  }
}

/** Name of the ifb device beside a container's link: `wfc…` → `wfi…`. */
export function shapingLinkName(hostLink: string): string {
  return `${linkPrefix}i${hostLink.slice(linkPrefix.length + 1)}`
}

function bucket(device: string, bitsPerSecond: number, burstBits: number | undefined): TrafficOp {
  const bytesPerSecond = BigInt(Math.floor(bitsPerSecond / 8))
  if (bytesPerSecond < 1n) {
    throw new AppError('ERR_SHAPING_RATE', `a rate of ${bitsPerSecond} bit/s: at least 8 are needed`)
  }
  const usual = (bytesPerSecond * burstMs) / 1000n
  const burst = burstBits === undefined ? larger(usual, BigInt(leastBurstBytes)) : BigInt(Math.ceil(burstBits / 8))
  const limit = (bytesPerSecond * latencyMs) / 1000n + burst
  return {
    kind: 'tbf.replace',
    device,
    bytesPerSecond,
    burstBytes: Number(smaller(burst, mostBytes)),
    limitBytes: Number(smaller(limit, mostBytes)),
  }
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
