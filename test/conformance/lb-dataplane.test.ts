import tap from 'tap'
import { openFakePlane } from '../../lb/fake.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { openFakeNft } from '../../networking/nft/fake.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { canMakeHosts, makeHost } from '../support/hosts.ts'
import { dataPlaneSuite } from '../support/lb-plane-suite.ts'
import { nftNamespace } from '../support/nft-namespace.ts'

tap.test('fake', async (t) => dataPlaneSuite(t, openFakePlane()))
tap.test('nftables, interpreted', async (t) =>
  dataPlaneSuite(t, openNftablesPlane({ nft: openFakeNft(), table: 'weft' })),
)
tap.test('nftables', { skip: canMakeHosts }, async (t) => {
  const host = makeHost('plane')
  t.teardown(host.remove)
  const nft = await openLibnftables({ namespace: nftNamespace(host) })
  t.teardown(nft.close)
  await dataPlaneSuite(t, openNftablesPlane({ nft, table: 'weft' }))
})
