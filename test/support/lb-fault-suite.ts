import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Test } from 'tap'
import { type DataPlaneMode } from '../../lb/open.ts'
import { type Attempt, openConnection, startServer } from './lb-traffic.ts'
import { backend, makeWorld, servers, vip } from './lb-world.ts'

const client = fileURLToPath(new URL('../fixtures/lb-client.ts', import.meta.url))

/** The stages are started anew ten times, as after SIGKILL, while a client asks without pause: nothing breaks. */
export async function restartSuite(t: Test, dataPlane: 'ipvs' | 'nftables'): Promise<void> {
  const { host, program, audit, restart } = await makeWorld(t, { containers: 'all', dataPlane })
  for (const name of servers) await startServer(host(name), name, 8080)
  await program(servers.map((name) => backend(name)))
  const kept = [await openConnection(host('client'), vip[4], 80), await openConnection(host('client'), vip[6], 80)]
  const targets = ([4, 6] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) => ({ protocol, address: vip[family], port: 80, count: 100 })),
  )
  const child = host('client').start(process.execPath, client, 'ask', JSON.stringify(targets))
  const answers: Attempt[] = []
  const lines = (async () => {
    if (child.stdout === null) return
    for await (const line of createInterface(child.stdout)) answers.push(...JSON.parse(line))
  })()
  for (let i = 0; i < 10; i++) {
    restart(dataPlane satisfies DataPlaneMode)
    t.same(await audit(), [], 'what was there is as it should be')
    for (const one of kept) t.equal((await one.ask()).server, one.first.server, 'an established connection goes on')
  }
  await lines
  t.equal(answers.length, 400)
  t.same([...new Set(answers.map(({ error }) => error))], [undefined], 'every new one was answered')
}

/** A client that keeps its socket: each datagram goes to a backend that is there, also after there was none. */
export async function resteerSuite(t: Test, dataPlane: DataPlaneMode): Promise<void> {
  const { host, program } = await makeWorld(t, { containers: 'all', dataPlane })
  for (const name of servers) await startServer(host(name), name, 8080)
  for (const family of [4, 6] as const) {
    await program([backend('b1')])
    const flow = await openConnection(host('client'), vip[family], 80, 'udp')
    t.equal(flow.first.server, 'b1', `IPv${family}`)
    await program([backend('b1', { state: 'TASK_KILLING' }), backend('b2')])
    t.equal((await flow.ask()).server, 'b2', 'drains: the next datagram goes to another one')
    await program([])
    t.equal((await flow.ask()).error, 'ECONNREFUSED', 'none left: refused')
    await program([backend('b3')])
    t.equal((await flow.ask()).server, 'b3', 'and to the next that comes')
  }
}
