import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import { openApi } from '../../core/cli/api.ts'
import { waitForDeployment } from '../../core/cli/commands/wait.ts'
import { runCommand } from '../../core/cli/run.ts'
import { type FreeAgent } from '../../core/services/preview-place.ts'
import { parseAgentId } from '../../core/model/ids.ts'
import { open, type ServicesWorld } from '../support/services-world.ts'

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const folder = mkdtempSync(join(tmpdir(), 'weft-cli-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** Runs the command in this process: a process of its own for each takes a second on a loaded machine. One at a time. */
async function weft(master: string, ...words: readonly string[]): Promise<Ended> {
  const written = { stdout: '', stderr: '' }
  const { stdout, stderr } = process
  const write = { stdout: stdout.write, stderr: stderr.write }
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].write = (text: string | Uint8Array) => {
      written[name] += String(text)
      return true
    }
  }
  try {
    const status = await runCommand(['node', 'weft', '--master', master, ...words])
    return { status, ...written }
  } finally {
    stdout.write = write.stdout
    stderr.write = write.stderr
    process.exitCode = 0
  }
}

const free: FreeAgent = {
  agentId: parseAgentId('S0'),
  place: { hostname: 's0', attributes: {} },
  resources: { cpuMillis: 4_000, memMb: 4_096, diskMb: 0, ports: [{ begin: 31_000, end: 31_099 }] },
}

/** The services on a port of loopback, with what the command asks the rest of a master. */
async function serve(world: ServicesWorld) {
  const app = Fastify({ forceCloseConnections: true })
  const answered = new EventEmitter()
  app.addHook('onResponse', async ({ url }) => void answered.emit(url))
  await app.register(world.services.routes)
  app.get('/weft/v1/converge', () => ({ converged: true, version: 42, missing: [] }))
  app.get('/weft/v1/nodes', () => ({ nodes: [{ name: 's0' }, { name: 's1' }] }))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, close: () => app.close(), lookedAt: (path: string) => once(answered, path) }
}

const web = 'id: /shop/web\ncmd: serve\ninstances: 2\ncpus: 0.1\n'

t.test('from a file to a service and back', async (t) => {
  const world = await open(t, { freeAgents: () => [free] })
  const { url, close } = await serve(world)
  t.teardown(close)
  const path = file('web.yaml', web)
  // The first master does not answer: the next one is asked.
  const run = (...words: readonly string[]) => weft(`http://127.0.0.1:${unused},${url}`, ...words)
  const unused = await closedPort()
  const steps: readonly (readonly [readonly string[], Partial<Record<keyof Ended, unknown>>])[] = [
    [['app', 'plan', path], { status: 0, stdout: /\/shop\/web: new .*0 -> 2\n {2}placed: 2 on s0/ }],
    [['app', 'deploy', path], { status: 0, stdout: /\/shop\/web deployed/, stderr: /on every node \(version 42\)/ }],
    [['app', 'plan', path], { status: 0, stdout: /unchanged/ }],
    [['app', 'list'], { status: 0, stdout: /\/shop\/web +2 +2/ }],
    [['app', 'scale', '/shop/web', '3'], { status: 0, stdout: /scaled to 3/ }],
    [['app', 'scale', '/shop/wbe', '3'], { status: 1, stderr: /there is no app \/shop\/wbe: weft app list/ }],
    [['app', 'scale', 'web', '3'], { status: 1, stderr: /did you mean \/shop\/web\?/ }],
    [['app', 'rollback', '/shop/web', '--json'], { status: 0, stdout: /"deploymentId"/, stderr: '' }],
    [['app', 'show', '/shop/web'], { status: 0, stdout: /"instances": 2/ }],
    [['app', 'versions', '/shop/web'], { status: 0, stdout: /\(now\)\n.*\n.*\n/ }],
    [['app', 'restart', '/shop/web'], { status: 0, stdout: /restarted/ }],
    [['group', 'list'], { status: 0, stdout: /\/shop +1 +0/ }],
    [['group', 'scale', '/shop', '2'], { status: 0, stdout: /scaled by 2/ }],
    [['app', 'stop', '/shop/web'], { status: 0, stdout: /stopped/ }],
    [['queue'], { status: 0, stdout: 'nothing waits\n' }],
    [['group', 'remove', '/shop'], { status: 0, stdout: /removed/ }],
  ]
  for (const [words, expected] of steps) t.match(await run(...words), expected, words.join(' '))
  t.same(await world.read('/v2/apps', 'apps'), [])
  t.match(await weft(url, '__complete', 'app'), { status: 2 }, 'only as the first word')
})

t.test('what is wrong is told with its place, and nothing is done', async (t) => {
  const world = await open(t)
  const { url, close } = await serve(world)
  t.teardown(close)
  const wrong = file('wrong.yaml', `${web}---\nid: /b\ncmd: x\nnetworks: [{mode: container, name: nowhere}]\n`)
  const job = file('job.yaml', 'id: nightly\nrun: {cmd: x, cpus: 1, mem: 1, disk: 0}\n')
  const cases: readonly (readonly [readonly string[], Partial<Record<keyof Ended, unknown>>])[] = [
    [['app', 'deploy', wrong], { status: 1, stderr: /nothing was changed\n.*wrong\.yaml:8:\d+: \/networks/ }],
    [['app', 'validate', wrong], { status: 0, stdout: /2 right/ }],
    [
      ['app', 'validate', file('type.json', '{"id": "/a",\n "cmd": 3}')],
      { status: 1, stdout: /type\.json:2:9: \/cmd/ },
    ],
    [['app', 'deploy', job], { status: 2, stderr: /weft job add/ }],
    [['app', 'deploy', '/nowhere'], { status: 2, stderr: /no file/ }],
    [['group', 'deploy', file('app.yaml', web)], { status: 2, stderr: /weft app deploy/ }],
    [['app', 'scale', '/a', 'many'], { status: 2, stderr: /not a number/ }],
    [['app', 'deploy'], { status: 2, stderr: /missing required argument/ }],
    [['deployment', 'wait', 'none'], { status: 1, stderr: /is over, or never was; none is under way/ }],
    [['app', 'init', wrong], { status: 2, stderr: /--force/ }],
  ]
  for (const [words, expected] of cases) t.match(await weft(url, ...words), expected, words.join(' '))
  t.match(await weft('http://127.0.0.1:1', 'app', 'list'), { status: 1, stderr: /no answer from/ })
  t.same(await world.read('/v2/apps', 'apps'), [])
})

t.test('a stuck deployment says what it waits for, and can be given up', async (t) => {
  const world = await open(t)
  const { url, close, lookedAt } = await serve(world)
  t.teardown(close)
  const huge = file('huge.yaml', 'id: /huge\ncmd: x\ncpus: 1000\n')
  const late = await weft(url, 'app', 'deploy', huge, '--timeout', '1')
  t.match(late, {
    status: 1,
    stderr: /\/huge: offer: 1 not placed, InsufficientCpus on 3[\s\S]*weft deployment rollback/,
  })
  t.match(await weft(url, 'queue'), { stdout: /\/huge +1 .*InsufficientCpus on 3/ })
  const id = String(await world.read('/v2/deployments', '0', 'id'))
  t.match(await weft(url, 'deployment', 'list'), { stdout: new RegExp(`${id} +1 of 1 +/huge +/huge: offer`) })
  t.match(await weft(url, 'deployment', 'show', id), { stdout: /> 1\. StartApplication \/huge/ })
  const looked = lookedAt('/v2/deployments')
  const waiting = waitForDeployment(openApi(url), id).then(
    () => 'done',
    (error: Error) => error.message,
  )
  await looked
  await world.send('DELETE', `/v2/deployments/${id}`)
  const message = await waiting
  t.match(message, /was given up: replaced by/)
  t.same(await world.read('/v2/apps', 'apps'), [], 'what it made is gone')
})

/** A port of loopback on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
