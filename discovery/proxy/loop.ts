import { type Edns } from '../dns/edns.ts'

/** An option for local use (RFC 6891 §9, 65001 to 65534) that names the proxies that a query went through. */
const tracedCode = 65_313
const idBytes = 8
/** So many proxies behind one another are a loop, whoever they are. */
const maxHops = 8

/** The query went through the proxy `id` before, or through too many. */
export function isLoop(edns: Edns | undefined, id: Uint8Array): boolean {
  const trace = traceOf(edns)
  if (trace.length >= maxHops * idBytes) return true
  for (let at = 0; at + idBytes <= trace.length; at += idBytes) {
    if (id.every((octet, i) => trace[at + i] === octet)) return true
  }
  return false
}

/** The option for the next hop. */
export function traced(edns: Edns | undefined, id: Uint8Array): { readonly code: number; readonly bytes: Uint8Array } {
  return { code: tracedCode, bytes: Uint8Array.of(...traceOf(edns), ...id) }
}

function traceOf(edns: Edns | undefined): Uint8Array {
  return edns?.options.find(({ code }) => code === tracedCode)?.bytes ?? new Uint8Array(0)
}
