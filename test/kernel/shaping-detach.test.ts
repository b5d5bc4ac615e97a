import { monitorEventLoopDelay } from 'node:perf_hooks'
import { closeSync, openSync } from 'node:fs'
import t from 'tap'
import { openLinkRemover } from '../../networking/netlink/link-remover.ts'
import { openRouteSocket } from '../../networking/netlink/route-socket.ts'
import { openTrafficControl } from '../../networking/netlink/traffic.ts'
import { openShaper } from '../../networking/shaping/shaper.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'

const link = 'wfcaaaaaaaaaaaa'
const addresses = { outside: '192.0.2.1', inside: '192.0.2.2' } as const

/** Sends `octets` over TCP. @returns octets per second, as the receiver saw it */
async function throughput(from: TestHost, to: TestHost, target: { address: string; port: number; octets: number }) {
  const { address, port, octets } = target
  const receive = `
    const server = require('net').createServer((socket) => {
      let [got, start] = [0, 0]
      socket.on('data', (data) => {
        if (got === 0) start = performance.now()
        got += data.length
        if (got >= ${octets}) { console.log(got / (performance.now() - start) * 1000); process.exit() }
      })
    }).listen(${port}, '${address}', () => console.log('ready'))`
  const server = to.start(process.execPath, '-e', receive)
  const lines: string[] = []
  const seen = new Promise<number>((resolve, reject) => {
    server.once('exit', () => resolve(Number(lines.at(-1))))
    server.once('error', reject)
    server.stdout?.on('data', (data: Buffer) => {
      lines.push(...data.toString().trim().split('\n'))
      if (lines.length !== 1) return
      from.start(process.execPath, '-e', `require('net').connect(${port}, '${address}').end(Buffer.alloc(${octets}))`)
    })
  })
  return seen
}

function pair(t: { teardown(fn: () => unknown): void }) {
  const [node, container] = [makeHost('node'), makeHost('container')]
  t.teardown(() => {
    node.remove()
    container.remove()
  })
  node.run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', container.name)
  for (const [host, device, address] of [
    [node, link, addresses.outside],
    [container, 'eth0', addresses.inside],
  ] as const) {
    host.run('ip', 'addr', 'add', `${address}/24`, 'dev', device)
    host.run('ip', 'link', 'set', device, 'up')
  }
  return { node, container }
}

t.test('rates are limited in both directions', { skip: canMakeHosts }, async (t) => {
  const { node, container } = pair(t)
  const routes = openRouteSocket({ netns: node.path })
  const traffic = openTrafficControl({ netns: node.path })
  const remover = openLinkRemover({ netns: node.path })
  t.teardown(() => {
    routes.close()
    traffic.close()
    remover.close()
  })
  const shaper = openShaper({ routes, traffic, removeLinks: remover.remove })
  const limits = {
    ...{ ingressBitsPerSecond: 16_000_000, ingressBurstBits: 400_000 },
    ...{ egressBitsPerSecond: 32_000_000, egressBurstBits: 400_000 },
  }
  await shaper.apply(link, limits)
  await shaper.apply(link, limits)
  t.match(node.run('tc', 'qdisc', 'show', 'dev', link), /tbf .*rate 16Mbit burst 50000b[\s\S]*ingress/, 'as tc sees it')
  t.match(node.run('tc', 'qdisc', 'show', 'dev', 'wfiaaaaaaaaaaaa'), /tbf .*rate 32Mbit/)
  const inwards = await throughput(node, container, { address: addresses.inside, port: 5001, octets: 1_000_000 })
  const outwards = await throughput(container, node, { address: addresses.outside, port: 5002, octets: 2_000_000 })
  // Above by the burst, below by the headers and whatever the machine does meanwhile.
  t.ok(inwards > 400_000 && inwards < 2_300_000, `to the container: ${inwards} octets/s of 2,000,000`)
  t.ok(outwards > 800_000 && outwards < 4_600_000, `from the container: ${outwards} octets/s of 4,000,000`)
  await shaper.remove(link)
  await shaper.remove(link)
  t.equal(await routes.link('wfiaaaaaaaaaaaa'), undefined)
  await t.rejects(shaper.apply('wfcnone', limits), { code: /^ERR_/ })
  t.equal(await routes.link('wfinone'), undefined, 'a failure leaves nothing')
})

t.test('links go together, and the thread goes on', { skip: canMakeHosts }, async (t) => {
  const { node, container } = pair(t)
  const routes = openRouteSocket({ netns: node.path })
  const remover = openLinkRemover({ netns: node.path })
  t.teardown(() => {
    routes.close()
    remover.close()
  })
  const names = Array.from({ length: 20 }, (_, i) => `wfcx${i}`)
  for (const [i, name] of names.entries()) {
    node.run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', `e${i}`, 'netns', container.name)
  }
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const start = performance.now()
  await Promise.all(names.map((name) => remover.remove([name, `${name}none`])))
  const elapsedMs = performance.now() - start
  delay.disable()
  const left = (await routes.links()).map(({ name }) => name)
  t.same(
    left.filter((name) => name.startsWith('wfcx')),
    [],
  )
  t.ok(left.includes(link), 'others stay')
  t.notMatch(container.run('ip', '-o', 'link'), /e\d+@/, 'and the containers lose their ends')
  t.comment(`20 links in ${elapsedMs.toFixed(1)} ms; longest pause of the thread ${(delay.max / 1e6).toFixed(1)} ms`)
  await remover.remove(['wfcx0'])
  await t.rejects(remover.remove(['lo']), { code: 'ERR_NETLINK_EOPNOTSUPP' }, 'what can not be removed is told')
  node.run('ip', 'link', 'add', 'wfcy', 'type', 'bridge')
  const [bad, good] = await Promise.allSettled([remover.remove(['lo']), remover.remove(['wfcy'])])
  t.same([bad.status, good.status], ['rejected', 'fulfilled'], 'and keeps no other one')
})

t.test('a removed link is gone, and its name free, when that is told', { skip: canMakeHosts }, async (t) => {
  const { node, container } = pair(t)
  const routes = openRouteSocket({ netns: node.path })
  const remover = openLinkRemover({ netns: node.path })
  const inside = openRouteSocket({ netns: container.path })
  t.teardown(() => {
    routes.close()
    inside.close()
    remover.close()
  })
  const fd = openSync(container.path, 'r')
  t.teardown(() => closeSync(fd))
  for (let i = 0; i < 20; i++) {
    const link = { type: 'veth', name: 'wfcz', peer: { name: 'ez', netnsFd: fd } } as const
    const [made] = await routes.perform([{ kind: 'link.add', link }])
    await remover.remove(['wfcz'])
    const left = [await routes.link('wfcz'), await inside.link('ez')]
    if (made?.ok !== true || left.some((end) => end !== undefined))
      t.same([made, left], [{ ok: true }, []], `time ${i}`)
  }
  t.pass('twenty times')
})
