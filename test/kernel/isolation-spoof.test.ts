import tap from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { openAntispoof } from '../../networking/isolation/antispoof.ts'
import { type Binding } from '../../networking/isolation/bindings.ts'
import { openNft } from '../../networking/nft/open.ts'
import { canMakeHosts, makeHost } from '../support/hosts.ts'
import { askServer, startServer } from '../support/lb-traffic.ts'
import { makeRouterNode, plugContainer } from '../support/lb-world.ts'
import { nftNamespace } from '../support/nft-namespace.ts'

const { signal } = new AbortController()
const link = 'wfcaaaaaaaaaaaa'
const own = { device: link, ip4: '10.80.0.11', ip6: 'fd01:b:0:1::11' }
const forged = { 4: '10.80.0.99', 6: 'fd01:b:0:1::99' }

tap.test('a container sends from its own addresses only', { skip: canMakeHosts }, async (t) => {
  const [node, liar, server] = [makeHost('node'), makeHost('liar'), makeHost('server')]
  t.teardown(() => [liar, server, node].map((host) => host.remove()))
  makeRouterNode(node)
  plugContainer(node, liar, own)
  plugContainer(node, server, { device: 'wfs', ip4: '10.80.0.12', ip6: 'fd01:b:0:1::12' })
  const nft = await openNft({ namespace: nftNamespace(node) })
  t.teardown(() => nft.close())
  const mac = /link\/ether (\S+)/.exec(liar.run('ip', 'link', 'show', 'eth0'))?.[1] ?? ''
  const binding: Binding = { hostLink: link, mac, addresses: [parseIp(own.ip4), parseIp(own.ip6)] }
  let leases: readonly Binding[] = []
  const antispoof = openAntispoof({ nft, table: 'weft', leases: () => leases })
  await startServer(server, 'server', 8080)
  const ask = (address: string, timeoutMs = 600) =>
    askServer(liar, { protocol: 'udp', address, port: 8080, timeoutMs })[0]
  const answers = () => [ask('10.80.0.12', 600), ask('fd01:b:0:1::12', 600)].map((one) => one?.server ?? one?.error)
  const counted = (name: string) =>
    Number(
      new RegExp(`counter packets (\\d+) bytes \\d+ drop comment "${name} `).exec(
        node.run('nft', 'list', 'chain', 'inet', 'weft', 'spoof-guard'),
      )?.[1],
    )

  await antispoof.repair({ signal })
  t.same(answers(), ['TIMEOUT', 'TIMEOUT'], 'an unbound link sends nothing')
  leases = [binding]
  await antispoof.bind(binding)
  t.same(answers(), ['server', 'server'], 'bound: its own addresses pass')
  t.same(await antispoof.repair({ signal }), [], 'an audit finds what bind made')

  const [before, beforeMac] = [counted('source'), counted('mac')]
  for (const family of [4, 6] as const) {
    const [address, bits] = [forged[family], family === 4 ? '32' : '128']
    const route =
      family === 4
        ? ['route', 'replace', 'default', 'via', '169.254.1.1']
        : ['-6', 'route', 'replace', 'default', 'via', 'fe80::1']
    liar.run('ip', 'addr', 'add', `${address}/${bits}`, 'dev', 'eth0', ...(family === 6 ? ['nodad'] : []))
    // The route back is there: only the guard can be in the way.
    node.run('ip', family === 4 ? '-4' : '-6', 'route', 'add', `${address}/${bits}`, 'dev', link)
    liar.run('ip', ...route, 'dev', 'eth0', 'onlink', 'src', address)
  }
  t.same(answers(), ['TIMEOUT', 'TIMEOUT'], 'forged sources do not')
  t.ok(counted('source') >= before + 2, `each is counted: ${counted('source')}`)
  t.equal(counted('mac'), beforeMac)

  for (const family of [4, 6] as const) {
    const route =
      family === 4
        ? ['route', 'replace', 'default', 'via', '169.254.1.1']
        : ['-6', 'route', 'replace', 'default', 'via', 'fe80::1']
    liar.run('ip', ...route, 'dev', 'eth0', 'onlink', 'src', family === 4 ? own.ip4 : own.ip6)
  }
  t.same(answers(), ['server', 'server'], 'its own again')
  liar.run('ip', 'link', 'set', 'eth0', 'address', '02:11:22:33:44:55')
  t.equal(ask('10.80.0.12', 600)?.error, 'TIMEOUT', 'a foreign MAC does not')
  t.ok(counted('mac') > beforeMac, 'it is counted by itself')
  liar.run('ip', 'link', 'set', 'eth0', 'address', mac)

  node.run('nft', 'flush', 'set', 'inet', 'weft', 'spoof-source4')
  t.same(
    (await antispoof.repair({ signal })).map(({ kind }) => kind),
    ['element.add'],
    'an audit repairs it',
  )
  await antispoof.unbind(binding)
  await antispoof.unbind(binding)
  leases = []
  t.same(await antispoof.repair({ signal }), [], 'unbind took all of it')
  t.equal(ask('10.80.0.12', 600)?.error, 'TIMEOUT')
})
