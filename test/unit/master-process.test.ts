import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startAgent, startNode, until } from '../support/master.ts'

const main = fileURLToPath(new URL('../../core/master/main.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'weft-process-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

interface Line {
  readonly msg: string
  readonly http?: string
  readonly grpcPort?: number
  readonly version?: number
  readonly reason?: string
}

/** A master process on `stateDir`, and its log until `stop` is said. */
interface Running {
  readonly child: ChildProcess
  readonly lines: readonly Line[]
  /** Resolves with its exit status. */
  readonly exited: Promise<number | null>
}

function start(stateDir: string, listen: readonly string[], fd?: number): Running {
  const args = ['--state-dir', stateDir, '--node-name', 'master1', '--underlay', '127.0.0.1', ...listen]
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe', fd ?? 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: Line[] = []
  if (child.stderr !== null) {
    createInterface(child.stderr).on('line', (line) =>
      lines.push(line.startsWith('{') ? JSON.parse(line) : { msg: line }),
    )
  }
  const exited = once(child, 'exit').then(([code]) => code)
  return { child, lines, exited }
}

async function serving(running: Running): Promise<Line> {
  await until(() => running.lines.some(({ msg }) => msg === 'master serving'), 'a master that serves')
  return running.lines.find(({ msg }) => msg === 'master serving') ?? { msg: '' }
}

t.test('a master process is killed, comes back as the same, and ends in time', async (t) => {
  const stateDir = join(folder, 'state')
  const first = start(stateDir, [
    '--grpc-listen',
    '127.0.0.1:0',
    '--http-listen',
    '127.0.0.1:0',
    '--networks',
    'dcos,backend',
  ])
  const { http = '', grpcPort = 0, version = 0 } = await serving(first)
  const address = `127.0.0.1:${grpcPort}`
  const node = startNode('node1', address)
  const agent = startAgent({ name: 'node1', address })
  t.teardown(() => Promise.all([agent.stop(), node.stop()]))
  await until(() => agent.registrations() === 1 && node.snapshot().nodes.size === 2, 'everyone')
  const json = { 'content-type': 'application/json' }
  const created = await fetch(`http://${http}/weft/v1/networks`, {
    method: 'POST',
    headers: json,
    body: '{"name":"late"}',
  })
  t.equal(created.status, 201)
  t.equal((await fetch(`http://${http}/v2/apps`)).status, 200, 'the services are there')

  const rival = start(stateDir, ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0'])
  t.equal(await rival.exited, 1, 'a second master on the same state folder')
  t.match(rival.lines.at(-1), { reason: /another master/ })

  first.child.kill('SIGKILL')
  await first.exited
  const second = start(stateDir, ['--grpc-listen', address, '--http-listen', http])
  const again = await serving(second)
  t.ok((again.version ?? 0) > version)
  await until(() => agent.registrations() === 2 && node.snapshot().version >= (again.version ?? 0), 'everyone again')
  t.same([...node.snapshot().networks.keys()], ['backend', 'dcos', 'late'])
  const converged = await fetch(`http://${http}/weft/v1/converge?timeoutMs=20000`)
  t.match(await converged.json(), { converged: true })

  const waiting = Promise.allSettled([fetch(`http://${http}/weft/v1/converge?version=999999&timeoutMs=60000`)])
  await fetch(`http://${http}/health`) // by then the other one is being served
  const asked = performance.now()
  second.child.kill('SIGTERM')
  t.equal(await second.exited, 0)
  t.ok(performance.now() - asked < 5_000, 'an open request does not hold it')
  await waiting
})

t.test('an inherited socket, and flags that are wrong', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const handle: unknown = Reflect.get(server, '_handle')
  const fd = Number(typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : -1)
  const master = start(join(folder, 'fd'), ['--grpc-listen', '127.0.0.1:0', '--http-fd', '3', '--profile', 'dcos'], fd)
  const { http = '' } = await serving(master)
  server.close()
  t.match(await (await fetch(`http://${http}/weft/v1/networks`)).json(), { networks: [{ subnets: ['9.0.0.0/8'] }] })
  master.child.kill('SIGTERM')
  t.equal(await master.exited, 0)

  const cases = [
    { args: ['--grpc-listen', '127.0.0.1:0'], says: /one of --http-fd and --http-listen/ },
    { args: ['--grpc-listen', '127.0.0.1:0', '--http-listen', 'here'], says: /ADDR:PORT/ },
    { args: ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--profile', 'x'], says: /default, dcos/ },
    { args: ['--grpc-listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--what'], says: /--what/ },
  ]
  await Promise.all(
    cases.map(async ({ args, says }) => {
      const wrong = start(join(folder, 'wrong'), args)
      t.equal(await wrong.exited, 2)
      t.match(wrong.lines.map(({ msg }) => msg).join('\n'), says)
    }),
  )
  const taken = start(join(folder, 'taken'), ['--grpc-listen', '127.0.0.1:0', '--http-listen', '192.0.2.1:80'])
  t.equal(await taken.exited, 1)
  t.match(taken.lines.at(-1), { reason: /cannot serve HTTP/ })
})
