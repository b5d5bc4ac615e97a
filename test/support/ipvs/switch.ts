import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Test } from 'tap'
import { type Attempt, startServer } from '../lb-traffic.ts'
import { backend, makeWorld, servers, vip } from '../lb-world.ts'

const client = fileURLToPath(new URL('../../fixtures/lb-client.ts', import.meta.url))

/** Connections of one round of the client for each IP version, and when it ends whatever the switching does. */
const count = 50
const mostConnections = 20_000

/** The node daemon is started with the other data plane, and back, while a client asks without pause: all is answered. */
export async function switchSuite(t: Test): Promise<void> {
  const { host, node, program, audit, restart } = await makeWorld(t, { containers: 'all', dataPlane: 'nftables' })
  for (const name of servers) await startServer(host(name), name, 8080)
  await program([backend('b1'), backend('b2'), backend('b3')])
  const targets = ([4, 6] as const).map((family) => {
    return { protocol: 'tcp', address: vip[family], port: 80, count, timeoutMs: 5000 }
  })
  const answers: Attempt[] = []
  let asked = 0
  let switching = true
  const asking = (async () => {
    while (switching && asked < mostConnections) {
      const { stdout } = host('client').start(process.execPath, client, 'ask', JSON.stringify(targets))
      if (stdout === null) return
      asked += targets.length * count
      for await (const line of createInterface(stdout)) answers.push(...JSON.parse(line))
    }
  })()
  let switches = 0
  for (let i = 0; i < 20 && switches < 4; i++) {
    restart(i % 2 === 0 ? 'ipvs' : 'nftables')
    const repairs = await audit()
    if (repairs.some((repair) => repair.startsWith('ipvsadm'))) switches++
    const left = (await audit()).filter((repair) => !repair.startsWith('ipvsadm')) // connections of before end
    t.same(left, [], 'one repair is enough')
    await new Promise((resolve) => setTimeout(resolve, 300)) // not waiting for anything: lets the client ask meanwhile
  }
  switching = false
  await asking
  t.comment(`${switches} switches during ${answers.length} connections`)
  t.equal(switches, 4, 'there and back twice while the client asked')
  t.equal(answers.length, asked)
  t.same([...new Set(answers.map(({ error }) => error))], [undefined], 'every connection was answered')
  restart('nftables')
  await audit()
  t.notMatch(node.run('cat', '/proc/net/ip_vs'), /Masq +[1-9]/, 'IPVS gets nothing new')
  t.notMatch(node.run('nft', 'list', 'table', 'inet', 'weft'), 'lb-vs-', 'nor of the rules beside it')
}
