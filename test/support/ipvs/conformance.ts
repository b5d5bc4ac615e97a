import { type Test } from 'tap'
import { openLibnftables } from '../../../networking/nft/libnftables.ts'
import { makeHost } from '../hosts.ts'
import { dataPlaneSuite } from '../lb-plane-suite.ts'
import { nftNamespace } from '../nft-namespace.ts'
import { openHostIpvs } from './plane.ts'

/** The suite of every data plane, on IPVS with nftables beside it. */
export async function ipvsConformance(t: Test): Promise<void> {
  const host = makeHost('plane')
  t.teardown(host.remove)
  const nft = await openLibnftables({ namespace: nftNamespace(host) })
  t.teardown(nft.close)
  await dataPlaneSuite(t, openHostIpvs(t, { host, nft }))
}
