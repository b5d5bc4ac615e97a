import { lookup } from 'node:dns/promises'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { isIP } from 'node:net'

/** Addresses of hosts that a master tells by name. */
export interface HostAddresses {
  /** `undefined` while it is not known; `onKnown` tells when it is. */
  resolve(host: string): Ip | undefined
}

/** How long an answer of the machine's resolver, or none, is believed. */
const keptMs = 60_000

/** Asks the machine's resolver, once for each name and minute; nothing waits for it. */
export function openHostAddresses(nowMs: () => number, onKnown: () => void): HostAddresses {
  const known = new Map<string, { address: Ip | undefined; untilMs: number }>()
  const ask = async (host: string) => {
    const found = await lookup(host).catch(() => undefined) // ENOTFOUND and its like: asked again later
    const entry = known.get(host)
    if (entry === undefined || found === undefined || isIP(found.address) === 0) return
    const address = parseIp(found.address)
    if (entry.address === address) return
    entry.address = address
    onKnown()
  }
  return {
    resolve: (host) => {
      const entry = known.get(host)
      if (entry !== undefined && nowMs() < entry.untilMs) return entry.address
      known.set(host, { address: entry?.address, untilMs: nowMs() + keptMs })
      if (host !== '') void ask(host)
      return entry?.address
    },
  }
}
