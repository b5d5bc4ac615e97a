import { openSync } from 'node:fs'
import { insideNamespace } from '../../networking/netlink/namespace.ts'
import { openNative } from '../../networking/netlink/native.ts'
import { type NftNamespace } from '../../networking/nft/nft.ts'
import { type TestHost } from './hosts.ts'

/** The namespace of a test's host, for openers that work in one. Its descriptor lives as long as the process. */
export function nftNamespace(host: TestHost): NftNamespace {
  return { fd: openSync(host.path, 'r'), inside: (fd, run) => insideNamespace(openNative(), fd, run) }
}
