import { type NftTransaction } from './ops.ts'
import { type NftTable } from './table.ts'

/**
 * nftables of one network namespace. Real ones run the `nft` program (process.ts) or call its library (libnftables.ts);
 * the fake (fake.ts) interprets transactions in memory. All pass test/conformance/nft.test.ts.
 */
export interface Nft {
  readonly name: 'process' | 'libnftables' | 'fake'
  /**
   * All ops or none. An empty transaction does nothing.
   * @throws ERR_NFT_NOT_FOUND, ERR_NFT_EXISTS, ERR_NFT_BUSY, ERR_NFT_DENIED, ERR_NFT_SYNTAX, ERR_NFT_UNAVAILABLE,
   * ERR_NFT_TIMEOUT, ERR_NFT_FAILED, with nft's text; ERR_NFT_TEXT for text that no command can hold
   */
  apply(transaction: NftTransaction, options: { readonly signal: AbortSignal }): Promise<void>
  /** Would {@link apply} work? Changes nothing. @throws what {@link apply} would */
  check(transaction: NftTransaction, options: { readonly signal: AbortSignal }): Promise<void>
  /** The table of family inet. @returns undefined when there is none */
  readTable(table: string, options: { readonly signal: AbortSignal }): Promise<NftTable | undefined>
  close(): void
}

/**
 * The namespace that an opener works in, when it is not the process's own. `inside` runs a synchronous function there
 * (networking/netns.ts); the process form passes `fd` on by /proc.
 */
export interface NftNamespace {
  readonly fd: number
  readonly inside: <T>(fd: number, run: () => T) => T
}
