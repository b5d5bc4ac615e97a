import { type Nft } from './nft.ts'

/** An {@link Nft} whose commits are told from those of others. */
export interface ObservedNft {
  /** The same nftables; use no other one. */
  readonly nft: Nft
  /** Since it was asked last; false while a transaction of ours runs. A change during a long one of ours is not told. */
  changedByOthers(): boolean
}

/** Wraps `nft`; `generation` is of its namespace. Costs two readings of that for each transaction. */
export function observeNft(nft: Nft, generation: { readonly read: () => number }): ObservedNft {
  let expected = generation.read()
  let running = 0
  let foreign = false
  const look = () => {
    const now = running === 0 ? generation.read() : expected
    foreign ||= now !== expected
    expected = now
  }
  return {
    nft: {
      ...nft,
      apply: async (transaction, options) => {
        look()
        running++
        try {
          await nft.apply(transaction, options)
        } finally {
          running--
          expected = generation.read()
        }
      },
    },
    changedByOthers: () => {
      look()
      const told = foreign
      foreign = false
      return told
    },
  }
}
