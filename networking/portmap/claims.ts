import { AppError } from '../../core/base/errors.ts'
import { clashes, formatHostPort, type PortMapping } from './mapping.ts'

/** Which container has which host port. */
export interface PortClaims {
  /** Takes all or none. @throws ERR_PORTMAP_TAKEN naming the port and who has it */
  claim(owner: string, mappings: readonly PortMapping[]): void
  /** @returns what it had */
  release(owner: string): readonly PortMapping[]
  of(owner: string): readonly PortMapping[]
  all(): readonly PortMapping[]
}

interface Claim {
  readonly owner: string
  readonly mapping: PortMapping
}

/** No claims yet. Owners are any texts; `describe` tells a person who they are. */
export function makePortClaims(describe: (owner: string) => string): PortClaims {
  const byPort = new Map<string, readonly Claim[]>()
  const byOwner = new Map<string, readonly PortMapping[]>()
  const portOf = ({ family, protocol, hostPort }: PortMapping) => `${family} ${protocol} ${hostPort}`

  const check = (owner: string, mappings: readonly PortMapping[]) => {
    for (const [index, mapping] of mappings.entries()) {
      const others = (byPort.get(portOf(mapping)) ?? []).filter((claim) => claim.owner !== owner)
      const earlier = mappings.slice(0, index).map((one) => ({ owner, mapping: one }))
      const found = [...others, ...earlier].find((claim) => clashes(claim.mapping, mapping))
      if (found === undefined) continue
      const whose = found.owner === owner ? 'this container already' : describe(found.owner)
      throw new AppError(
        'ERR_PORTMAP_TAKEN',
        `host port ${formatHostPort(mapping)} leads to ${whose} (${formatHostPort(found.mapping)}): choose another`,
      )
    }
  }
  const release = (owner: string) => {
    const mappings = byOwner.get(owner) ?? []
    byOwner.delete(owner)
    for (const port of new Set(mappings.map(portOf))) {
      const left = (byPort.get(port) ?? []).filter((claim) => claim.owner !== owner)
      if (left.length === 0) byPort.delete(port)
      else byPort.set(port, left)
    }
    return mappings
  }
  return {
    claim: (owner, mappings) => {
      check(owner, mappings)
      release(owner)
      if (mappings.length > 0) byOwner.set(owner, mappings)
      for (const mapping of mappings) {
        byPort.set(portOf(mapping), [...(byPort.get(portOf(mapping)) ?? []), { owner, mapping }])
      }
    },
    release,
    of: (owner) => byOwner.get(owner) ?? [],
    all: () => [...byOwner.values()].flat(),
  }
}
