import { maxMessageBytes, plainUdpBytes } from '../dns/constants.ts'

/** The largest UDP response that is sent, whatever the client offers. Larger ones go over TCP. */
export const maxUdpBytes = 4096

/** What we say that we take over UDP ourselves. Source: DNS flag day 2020. */
export const ownUdpSizeBytes = 1232

/** How large the response may be. RFC 6891 §6.2.3: an offer below 512 means 512. */
export function limitBytes(
  query: { readonly edns?: { readonly udpSizeBytes: number } },
  transport: 'udp' | 'tcp',
): number {
  if (transport === 'tcp') return maxMessageBytes
  if (query.edns === undefined) return plainUdpBytes
  return Math.min(Math.max(query.edns.udpSizeBytes, plainUdpBytes), maxUdpBytes)
}
