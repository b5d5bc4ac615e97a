import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildClients, callPlugin, type CniNode, makeCniNode } from '../support/cni-node.ts'
import { canMakeHosts, type TestHost } from '../support/hosts.ts'

t.setTimeout(280_000)

const fixture = fileURLToPath(new URL('../fixtures/cni-crash-daemon.ts', import.meta.url))

interface Daemon {
  readonly child: ChildProcess
  /** From now on it has so many steps to live. */
  arm(steps: number): Promise<void>
  /** What it has leased. */
  leases(): Promise<readonly Record<string, unknown>[]>
  /** It may have ended by itself. */
  end(): Promise<void>
}

async function startDaemon(node: CniNode, folder: string): Promise<Daemon> {
  const child = spawn(process.execPath, [fixture, node.host.path, folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  child.stdin.on('error', () => undefined) // EPIPE: it has killed itself
  const { value } = await lines.next()
  if (value !== 'ready') throw new Error('the daemon ended at its start')
  const ask = async (line: string) => {
    child.stdin.write(`${line}\n`)
    return String((await lines.next()).value)
  }
  return {
    child,
    arm: async (steps) => void (await ask(`kill ${steps}`)),
    leases: async () => JSON.parse(await ask('leases')),
    end: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** How many steps one ADD and DEL have is not fixed: killing goes on until a pair came through. */
const mostSteps = 100
const containersUnderLoad = 6
const runsUnderLoad = 27

t.test('killed at any step of ADD and DEL, nothing leaks', { skip: canMakeHosts, timeout: 270_000 }, async (t) => {
  const node = makeCniNode('crash')
  t.teardown(() => node.remove())
  const folder = join(node.directory, 'daemon')
  mkdirSync(folder, { mode: 0o700 })
  const [client = ''] = buildClients(node.directory).values()
  const boxes = Array.from({ length: containersUnderLoad }, (_, i) => node.container(`k${i}`))

  const call = async (command: string, box: TestHost) => {
    const env = { CNI_COMMAND: command, CNI_CONTAINERID: box.name, CNI_NETNS: box.path, CNI_IFNAME: 'eth0' }
    const portMappings = [{ hostPort: 8000 + boxes.indexOf(box), containerPort: 80, protocol: 'tcp' }]
    const config = { cniVersion: '1.0.0', name: 'dcos', type: 'weft', socket: join(folder, 'net.sock') }
    const { exitCode } = await callPlugin(client, env, { ...config, runtimeConfig: { portMappings } })
    return exitCode
  }
  const remains = () => ({
    links: node.hostLinks(),
    inside: boxes.filter((box) => box.run('ip', '-o', 'link').includes('eth0')).map(({ name }) => name),
    routes: node.host.run('ip', 'route', 'show', 'proto', '87'),
    rules: node.host.run('nft', 'list', 'table', 'inet', 'weft').match(/10\.80\.1\.\d+/g) ?? [],
  })
  const nothing = { links: [], inside: [], routes: '', rules: [] }

  let daemon = await startDaemon(node, folder)
  t.teardown(() => daemon.end())
  const restart = async () => {
    const survived = daemon.child.exitCode === null && daemon.child.signalCode === null
    await daemon.end()
    daemon = await startDaemon(node, folder)
    return survived ? 'survived' : 'killed'
  }

  /** Every DEL is answered with success, or kept on disk and performed at the next start: nothing may be left then. */
  const round = async (used: readonly TestHost[], killAt: number) => {
    const name = `${used.length} at once, killed at step ${killAt}`
    await daemon.arm(killAt)
    const pairs = used.map(async (box) => [await call('ADD', box), await call('DEL', box)])
    const codes = (await Promise.all(pairs)).flat()
    const outcome = await restart()
    if (codes.some((code, i) => i % 2 === 1 && code !== 0)) t.fail(`${name}: a DEL failed`)
    const [left, state] = [await daemon.leases(), remains()]
    if (left.length > 0 || JSON.stringify(state) !== JSON.stringify(nothing)) t.same([left, state], [[], nothing], name)
    return outcome
  }

  let step = 1
  while (step < mostSteps && (await round(boxes.slice(0, 1), step)) === 'killed') step++
  t.ok(step > 25 && step < mostSteps, `a pair has ${step - 1} steps, and was killed at each`)
  const [box] = boxes
  if (box === undefined) return
  for (const command of ['DEL', 'ADD', 'DEL']) t.equal(await call(command, box), 0, `the retry: ${command}`)
  for (let run = 0; run < runsUnderLoad; run++) await round(boxes, 1 + run * 7)
  t.pass(`${step + runsUnderLoad * containersUnderLoad} pairs`)

  // The runtime dies with the daemon: no DEL comes. The start alone undoes what was half made, and keeps what was whole.
  for (const killAt of [3, 12, 30]) {
    await daemon.arm(killAt)
    const codes = await Promise.all(boxes.map((each) => call('ADD', each)))
    await restart()
    const left = await daemon.leases()
    t.same(
      left.filter(({ state }) => state !== undefined),
      [],
      `no half lease after step ${killAt}`,
    )
    t.same(new Set(node.hostLinks()), new Set(left.map(({ hostLink }) => hostLink)), 'a link for each lease')
    t.ok(left.length >= codes.filter((code) => code === 0).length, 'what was answered stays')
    await Promise.all(boxes.map((each) => call('DEL', each)))
    t.same([await daemon.leases(), remains()], [[], nothing])
  }
})
