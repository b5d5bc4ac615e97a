/** What keeps the master from offering to the services. */
export interface NoOffers {
  readonly role: string
  /** The allocator's word: `quota`, `filtered`, `nothing-left`, `reserved-for-others`, `suppressed` or `due`. */
  readonly why: string
  /** Whole seconds since the last offer. */
  readonly forSeconds: number
}

/** For people. Undefined while offers are not kept back: they come with the next round, or were refused for a moment. */
export function noOffersText({ role, why }: NoOffers): string | undefined {
  switch (why) {
    case 'quota':
      return `the quota of role "${role}" is used up`
    case 'reserved-for-others':
      return 'what is left is reserved for other roles'
    case 'nothing-left':
      return 'no agent has anything left to offer'
    default:
      return undefined
  }
}
