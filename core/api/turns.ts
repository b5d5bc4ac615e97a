/** Whom a client tries next, of several masters. */
export interface MasterTurns {
  /** `address:port`; undefined when there is no master at all. */
  next(): string | undefined
  /**
   * A master said who leads: that one is next. `now` when it is worth trying without a pause: once, until `settled`, so
   * that two masters which name each other do not get a busy loop.
   */
  hint(leader: string): 'now' | 'later'
  /** The present master serves us: what failed before counts no more. */
  settled(): void
}

/** The masters in the order given, round and round. */
export function openTurns(masters: readonly string[]): MasterTurns {
  let turn = 0
  let hinted: string | undefined
  let hints = 0
  return {
    next: () => {
      const next = hinted ?? masters[turn++ % Math.max(1, masters.length)]
      hinted = undefined
      return next
    },
    hint: (leader) => {
      hinted = leader
      hints++
      return hints === 1 ? 'now' : 'later'
    },
    settled: () => {
      hints = 0
    },
  }
}

/** `address:port` as gRPC takes it: a name, an IPv4 address, an IPv6 address in brackets. */
export function isMasterAddress(text: string): boolean {
  return /^(\[[0-9a-fA-F:.]+\]|[\w.-]+):[1-9]\d{0,4}$/.test(text)
}
