import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Test } from 'tap'
import { type LocalCluster } from '../../../core/cli/up/cluster.ts'
import { echoServer, type HeldConnection, holdConnection } from '../connections.ts'
import { eventually } from '../local-cluster.ts'
import { idsOf, onDcos, removeApps, settled, vipOf } from './stage.ts'

const weft = fileURLToPath(new URL('../../../core/cli/main.ts', import.meta.url))
const small = { cpus: 0.1, mem: 32, networks: onDcos }
const lasting = (drainSeconds: number) => {
  const labels = { VIP_0: '/lasting:7000', 'lb-drain-seconds': String(drainSeconds) }
  return {
    ...{ id: '/lasting', args: ['/usr/bin/perl', '-e', echoServer], instances: 2, ...small },
    container: { portMappings: [{ containerPort: 7000, labels }] },
  }
}

/**
 * A server that dies on SIGTERM: its connections go on for the drain time all the same, new ones go to the other backend.
 * The drain time must be long enough for what the suite does meanwhile.
 */
export async function drainTimeSuite(t: Test, cluster: LocalCluster, drainSeconds: number): Promise<void> {
  const { layout, api } = cluster
  const drainMs = drainSeconds * 1000
  await api.send('POST', '/v2/apps', lasting(drainSeconds))
  await api.send('POST', '/v2/apps', { id: '/caller', cmd: 'exec sleep 100000', instances: 1, ...small })
  await settled(cluster)
  const to = [await vipOf(cluster, 'lasting'), '7000'] as const
  const [caller = ''] = await idsOf(cluster, 'caller')
  const held = new Map<string, HeldConnection>()
  t.teardown(() => {
    for (const one of held.values()) one.close()
  })
  const connect = async () => {
    const one = await holdConnection(layout, caller, to)
    const [server = ''] = (await one.say('hello')).split(' ')
    if (held.has(server)) one.close()
    else held.set(server, one)
    return server
  }
  await eventually('connections to both', async () => {
    await connect()
    return held.size === 2 ? true : undefined
  })

  const askedMs = performance.now()
  const killed = [...held.keys()][0] ?? ''
  await api.send('DELETE', `/v2/apps/lasting/tasks/${killed}?scale=true`)
  const shown = await eventually('vip show tells that it drains', async () => {
    const words = [weft, '--cluster', layout.name, 'vip', 'show', '--interval', '0', 'lasting']
    const { stdout } = await promisify(execFile)(process.execPath, words)
    return stdout.includes('draining') ? stdout : undefined
  })
  t.match(shown, /being ended, at the latest at 20\d\d-/)
  for (let i = 0; i < 5; i++) t.not(await connect(), killed, 'new ones go elsewhere')
  while (performance.now() - askedMs < drainMs * 0.7) await held.get(killed)?.say('still there?')
  t.match(await held.get(killed)?.say('still there?'), killed, `established ones are served after ${drainMs * 0.7} ms`)
  await eventually('then it ends', async () => ((await idsOf(cluster, 'lasting')).length === 1 ? true : undefined))
  await t.rejects(async () => {
    for (;;) await held.get(killed)?.say('still there?')
  }, 'its connections end with it')
  t.ok(performance.now() - askedMs >= drainMs, 'not before the drain time')
  await settled(cluster)
  await removeApps(cluster, 'lasting', 'caller')
}
