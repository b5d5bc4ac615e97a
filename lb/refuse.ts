import { type IpFamily } from '../core/base/ip.ts'
import { type NftChainSpec } from '../networking/nft/table.ts'

/** Whether VIP addresses answer ping: `answer` as any local address does, or `ignore` it. */
export const vipPingModes = ['answer', 'ignore'] as const

/** One of {@link vipPingModes}. */
export type VipPing = (typeof vipPingModes)[number]

const families: readonly IpFamily[] = [4, 6]
const header = { 4: 'ip', 6: 'ip6' } as const
const echo = { 4: 'icmp type echo-request', 6: 'icmpv6 type echo-request' } as const

/**
 * What still has a VIP as its destination in hook input was not translated: no such port, or no backend. The node's own
 * servers on the same port must not answer for it. A packet that conntrack can't place (late, out of window) is dropped:
 * refusing it would end a connection that is well. After IPVS (99), beside either data plane: when one takes over from the
 * other, connections that IPVS has go on. `lb-address4` and `lb-address6` have every VIP.
 */
export function refuseInput(name: string, ping: VipPing): NftChainSpec {
  return {
    name,
    base: { type: 'filter', hook: 'input', priority: 110 },
    rules: families.flatMap((family) => {
      const match = `${header[family]} daddr @lb-address${family}`
      const icmp = family === 4 ? 'icmp' : 'ipv6-icmp'
      return [
        { name: `invalid${family}`, text: `${match} ct state invalid counter drop` },
        { name: `refuse-tcp${family}`, text: `${match} meta l4proto tcp counter reject with tcp reset` },
        { name: `refuse${family}`, text: `${match} meta l4proto != ${icmp} counter reject` },
        ...(ping === 'answer' ? [] : [{ name: `ping${family}`, text: `${match} ${echo[family]} counter drop` }]),
      ]
    }),
  }
}
