import { labelsOf, type Name, nameOfLabels } from '../dns/name.ts'
import { directoryDomain, type NamesConfig } from './config.ts'

/** Names below `from` are answered as those below `to`. `widely`: the same for names that an answer holds beside. */
export interface Rename {
  readonly from: readonly string[]
  readonly to: readonly string[]
  readonly widely?: { readonly from: readonly string[]; readonly to: readonly string[] }
}

/**
 * Older names of what is here, the longest suffix first: of VIPs `dclb`, of the directory `thisdcos.global` and
 * `KEY.dcos.directory`, of the Mesos-DNS domain `mesos.thisdcos.directory`. Source: reference/dns-proxy.md.
 */
export function renamesOf({ content, clusterKey, domain }: NamesConfig): readonly Rename[] {
  if (content === 'mesos-dns') return []
  const directory = labelsOf(directoryDomain)
  const others = [['thisdcos', 'global'], ...(clusterKey === undefined ? [] : [[clusterKey, 'dcos', 'directory']])]
  const below = (root: readonly string[], widely: Pick<Rename, 'widely'>): readonly Rename[] => [
    { from: ['dclb', ...root], to: ['l4lb', ...directory], ...widely },
    { from: ['mesos', ...root], to: labelsOf(domain), ...widely },
  ]
  const renames = others.flatMap((from) => {
    const whole = { from, to: directory }
    return [...below(from, { widely: whole }), whole]
  })
  return [...below(directory, {}), ...renames].toSorted((a, b) => b.from.length - a.from.length)
}

/** A name that was asked for by an older one. */
export interface Renamed {
  readonly name: Name
  /** A name of the answer, as the client knows it. */
  readonly back: (name: Name) => Name
}

/** What is looked up instead of the name; `undefined`: the name itself. */
export function renameQuestion(renames: readonly Rename[], asked: Name): Renamed | undefined {
  if (renames.length === 0) return undefined
  const labels = labelsOf(asked)
  const rename = renames.find(({ from }) => endsWith(labels, from))
  if (rename === undefined) return undefined
  const { to, widely } = rename
  const kept = labels.slice(0, labels.length - rename.from.length)
  // The client's own case comes back to it.
  const from = labels.slice(kept.length)
  const name = joined([...kept, ...to])
  if (name === undefined) return undefined
  const pairs = widely === undefined ? [{ from, to }] : [{ from, to }, widely]
  return { name, back: (found) => backwards(found, pairs) }
}

function backwards(
  name: Name,
  pairs: readonly { readonly from: readonly string[]; readonly to: readonly string[] }[],
): Name {
  const labels = labelsOf(name)
  for (const { from, to } of pairs) {
    if (endsWith(labels, to)) return joined([...labels.slice(0, labels.length - to.length), ...from]) ?? name
  }
  return name
}

/** As names are compared: without case. RFC 4343. */
function endsWith(labels: readonly string[], suffix: readonly string[]): boolean {
  const start = labels.length - suffix.length
  return start >= 0 && suffix.every((label, i) => labels[start + i]?.toLowerCase() === label.toLowerCase())
}

/** `undefined` where the other suffix makes it longer than a name may be. */
function joined(labels: readonly string[]): Name | undefined {
  return labels.reduce((sum, label) => sum + label.length + 1, 1) > 255 ? undefined : nameOfLabels(labels)
}
