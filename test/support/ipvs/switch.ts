import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Test } from 'tap'
import { type Attempt, startServer } from '../lb-traffic.ts'
import { backend, makeWorld, servers, vip } from '../lb-world.ts'

const client = fileURLToPath(new URL('../../fixtures/lb-client.ts', import.meta.url))

/** The node daemon is started with the other data plane, and back, while a client asks without pause: all is answered. */
export async function switchSuite(t: Test): Promise<void> {
  const { host, node, program, audit, restart } = await makeWorld(t, { containers: 'all', dataPlane: 'nftables' })
  for (const name of servers) await startServer(host(name), name, 8080)
  await program([backend('b1'), backend('b2'), backend('b3')])
  const targets = ([4, 6] as const).map((family) => {
    return { protocol: 'tcp', address: vip[family], port: 80, count: 150, timeoutMs: 3000 }
  })
  const child = host('client').start(process.execPath, client, 'ask', JSON.stringify(targets))
  let asking = true
  child.once('exit', () => {
    asking = false
  })
  const answers: Attempt[] = []
  const lines = (async () => {
    if (child.stdout === null) return
    for await (const line of createInterface(child.stdout)) answers.push(...JSON.parse(line))
  })()
  let switches = 0
  for (let i = 0; i < 100 && asking; i++) {
    restart(i % 2 === 0 ? 'ipvs' : 'nftables')
    const repairs = await audit()
    if (asking && repairs.some((repair) => repair.startsWith('ipvsadm'))) switches++
    const left = (await audit()).filter((repair) => !repair.startsWith('ipvsadm')) // connections of before end
    t.same(left, [], 'one repair is enough')
    await new Promise((resolve) => setTimeout(resolve, 300)) // not waiting for anything: lets the client ask meanwhile
  }
  await lines
  t.comment(`${switches} switches during ${answers.length} connections`)
  t.ok(switches >= 2, 'there and back while the client asked')
  t.equal(answers.length, 300)
  t.same([...new Set(answers.map(({ error }) => error))], [undefined], 'every connection was answered')
  restart('nftables')
  await audit()
  t.notMatch(node.run('cat', '/proc/net/ip_vs'), /Masq +[1-9]/, 'IPVS gets nothing new')
  t.notMatch(node.run('nft', 'list', 'table', 'inet', 'weft'), 'lb-vs-', 'nor of the rules beside it')
}
