import { hasCode } from '../../core/base/errors.ts'
import { openLibnftables } from './libnftables.ts'
import { type Nft, type NftNamespace } from './nft.ts'
import { openNftProcess } from './process.ts'

/** nftables by the quickest means that the machine has: the library, else the program. */
export async function openNft(options: { readonly namespace?: NftNamespace } = {}): Promise<Nft> {
  try {
    return await openLibnftables(options)
  } catch (error) {
    if (hasCode(error, 'ERR_NFT_UNAVAILABLE')) return openNftProcess(options)
    throw error
  }
}
