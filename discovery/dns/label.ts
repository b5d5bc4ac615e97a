/** Which rule labels obey: `rfc1123` is Mesos-DNS's default, `rfc952` its option EnforceRFC952. */
export type LabelRule = 'rfc1123' | 'rfc952'

const limits = {
  rfc1123: { maxOctets: 63, leading: /^-+/ },
  rfc952: { maxOctets: 24, leading: /^[-0-9]+/ },
} as const

/**
 * One DNS label of any text, exactly as Mesos-DNS makes it (reference/mesos-dns.md, Labels): lower case; `.` and `_`
 * become `-`; what no label can have is dropped; cut at the maximum. May be empty.
 */
export function mangleLabel(text: string, rule: LabelRule = 'rfc1123'): string {
  const { maxOctets, leading } = limits[rule]
  const mapped = text
    .replace(/[A-Z]/g, (char) => char.toLowerCase())
    .replace(/[._]/g, '-')
    .replace(/[^a-z0-9-]/g, '')
    .replace(leading, '')
  const cut = mapped.slice(0, maxOctets)
  const head = cut.replace(/-+$/, '')
  if (head.length === cut.length) return head
  // The dashes that were trimmed leave room for what was cut off.
  const tail = mapped.slice(maxOctets).replace(/^-+/, '')
  return head + tail.slice(0, cut.length - head.length)
}

/** The labels of a dotted name, each mangled, empty ones dropped: how a framework's name becomes part of a domain. */
export function mangleDomain(text: string, rule: LabelRule = 'rfc1123'): readonly string[] {
  return text
    .split('.')
    .map((part) => mangleLabel(part, rule))
    .filter((label) => label !== '')
}

/** What follows the last `-` of an agent's id, in lower case: `0a1b…-S12` → `s12`. */
export function agentLabel(agentId: string): string {
  return agentId.slice(agentId.lastIndexOf('-') + 1).toLowerCase()
}
