import tap from 'tap'
import { type VirtualServer } from '../../lb/dataplane.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { parseIp } from '../../core/base/ip.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { openNftProcess } from '../../networking/nft/process.ts'
import { canMakeHosts, makeHost } from '../support/hosts.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { backend, makeWorld, pending } from '../support/lb-world.ts'

const { signal } = new AbortController()

/** What somebody does by hand, and the commands that repair it, in order. */
const damages: readonly { readonly by: string; readonly repaired: readonly RegExp[]; readonly more?: 'any' }[] = [
  {
    by: 'nft delete element inet weft lb-service4 { 100.96.0.1 . tcp . 80 }',
    repaired: [/^nft add element inet weft lb-service4 \{ 100\.96\.0\.1 \. tcp \. 80 : goto lb-pick4-2 \}$/],
  },
  {
    by: 'nft flush map inet weft lb-slot4-1',
    repaired: [/^nft add element inet weft lb-slot4-1 \{ 100\.96\.0\.1 \. tcp \. 80 : 10\.80\.0\.12 \. 8080, /],
  },
  { by: 'nft flush chain inet weft lb-pick6-2', repaired: [/^nft add rule inet weft lb-pick6-2 numgen /, /goto/] },
  {
    by: 'nft insert rule inet weft lb-input accept',
    repaired: [/^nft flush chain inet weft lb-input$/, ...Array(6).fill(/^nft add rule inet weft lb-input /)],
  },
  {
    by: 'nft add element inet weft lb-address4 { 192.0.2.9 }',
    repaired: [/^nft delete element inet weft lb-address4 \{ 192\.0\.2\.9 \}$/],
  },
  {
    by: 'ip route del local 100.96.0.1 dev lo table local',
    repaired: [/^ip (?:-4 )?route replace local 100\.96\.0\.1/],
  },
  { by: 'ip -6 route del local fd01:c::1 dev lo table local', repaired: [/^ip (?:-6 )?route replace local fd01:c::1/] },
  {
    by: 'ip route change local 100.96.0.1 dev lo table local proto 87 src 192.0.2.1',
    repaired: [/^ip (?:-4 )?route replace local 100\.96\.0\.1.* src 100\.97\.0\.1/],
  },
  {
    by: 'ip route add local 100.96.0.77 dev lo table local proto 87',
    repaired: [/^ip (?:-4 )?route del local 100\.96\.0\.77/],
  },
  // How many rules that are is isolation's affair.
  { by: 'nft flush chain inet weft iso-forward', repaired: [/^nft add rule inet weft iso-forward /], more: 'any' },
  {
    by: 'nft delete element inet weft iso-pair6 { fd01:b:0:1::/64 . fd01:b:0:1::/64 }',
    repaired: [/^nft add element inet weft iso-pair6 /],
  },
  {
    by: 'nft add chain inet weft lb-left',
    repaired: [/^nft flush chain inet weft lb-left$/, /^nft delete chain inet weft lb-left$/],
  },
]

tap.test('audits repair what differs and leave the rest', { skip: canMakeHosts }, async (t) => {
  const { node, program, audit } = await makeWorld(t, { containers: 'none' })
  const foreign = [
    'add table inet other',
    'add chain inet other forward { type filter hook forward priority 5 ; }',
    'add rule inet other forward counter accept',
    'add table inet weft',
    'add chain inet weft mine',
    'add rule inet weft mine accept',
  ]
  node.run('nft', foreign.join('; '))
  node.run('ip', 'route', 'add', 'local', '198.51.100.1', 'dev', 'lo', 'table', 'local', 'proto', '88')
  await program([backend('b1'), backend('b2'), pending])
  t.same(await audit(), [], 'nothing to do')
  const look = () => [
    node.run('nft', 'list', 'table', 'inet', 'other'),
    node.run('ip', 'route', 'show', 'table', 'local', 'proto', '88'),
  ]
  const before = look()
  const ours = () => node.run('nft', 'list', 'chain', 'inet', 'weft', 'mine')
  const mine = ours()
  for (const { by, repaired, more } of damages) {
    node.run('sh', '-c', by.replace(/\{.*\}/, "'$&'"))
    const repairs = await audit()
    if (more === undefined) t.equal(repairs.length, repaired.length, `${by}: ${repairs.join('; ')}`)
    t.match(repairs.slice(0, repaired.length), repaired, by)
    t.same(await audit(), [], 'and then nothing is left to do')
  }
  t.equal(ours(), mine, 'a chain in our table that is not ours stays')
  node.run('nft', 'delete', 'table', 'inet', 'weft')
  await program([backend('b1'), pending])
  t.equal((await audit()).length > 0, true, 'the whole table deleted: isolation comes back with the audit')
  t.same(await audit(), [])
  t.same(look(), before, "others' tables and routes are as they were")
})

tap.test('a thousand VIPs', { skip: canMakeHosts }, async (t) => {
  const host = makeHost('many')
  t.teardown(host.remove)
  const address = (i: number) => parseIp(`100.96.${i >> 8}.${i & 255}`)
  const servers = Array.from({ length: 1000 }, (_, i): VirtualServer => {
    const backends = Array.from({ length: 3 }, (_, j) => ({
      address: parseIp(`10.80.${j}.${i & 255}`),
      port: 8000 + (i >> 8),
      weight: 1,
    }))
    return { address: address(i), port: 80, protocol: 'tcp', backends }
  })
  const nft = await openLibnftables({ namespace: nftNamespace(host) })
  t.teardown(nft.close)
  const plane = openNftablesPlane({ nft, table: 'weft' })
  await plane.apply(
    servers.map((server) => ({ kind: 'server.ensure', server })),
    { signal },
  )
  t.equal((await plane.read({ signal })).length, 1000)
  t.same(await plane.repair(servers, { signal }), [], 'all as wanted')
  const [first] = servers
  if (first === undefined) return
  const smaller = { ...first, backends: first.backends.slice(1) }
  const startMs = performance.now()
  await plane.apply([{ kind: 'server.ensure', server: smaller }], { signal })
  t.comment(`one backend changed in ${(performance.now() - startMs).toFixed(2)} ms`)
  t.same(await plane.repair([smaller, ...servers.slice(1)], { signal }), [])

  // Another process, after this one: keeps what is there, learns from it, and sweeps what nobody wants.
  const later = openNftablesPlane({ nft: openNftProcess({ namespace: nftNamespace(host) }), table: 'weft' })
  await later.apply([{ kind: 'server.ensure', server: first }], { signal })
  t.equal((await later.read({ signal })).length, 1000, 'what an earlier process programmed stays')
  t.match(await later.repair([first], { signal }), [/^nft delete element/], 'until an audit knows what is wanted')
  t.same(await later.read({ signal }), [first])
})
