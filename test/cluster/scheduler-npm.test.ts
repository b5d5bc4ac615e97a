import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually, startTestCluster } from '../support/local-cluster.ts'

const program = new URL('../support/mesos-framework-run.ts', import.meta.url).pathname

t.test("npm's mesos-framework, unmodified, on a real master and agent", { skip: canMakeHosts }, async (t) => {
  const logs = mkdtempSync(join(tmpdir(), 'weft-npm-'))
  t.teardown(() => rmSync(logs, { recursive: true, force: true }))
  const cluster = await startTestCluster(1, 'npm')
  t.teardown(() => cluster.stop())
  const { hostname, port } = new URL(cluster.api.url)
  const client = spawn(process.execPath, [program, hostname, port, logs], { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = once(client, 'exit')
  t.teardown(async () => {
    client.kill('SIGKILL')
    await ended
  })
  const told: string[] = []
  createInterface({ input: client.stdout }).on('line', (line) => {
    const { event, state }: { readonly event: string; readonly state?: string } = JSON.parse(line)
    told.push(state ?? event)
  })
  await eventually('the whole way', async () => (told.includes('sent_teardown') ? true : undefined))
  const way = ['subscribed', 'sent_accept', 'TASK_RUNNING', 'sent_acknowledge', 'sent_kill', 'TASK_KILLED']
  t.same(
    [...way, 'sent_teardown'].filter((step) => !told.includes(step)),
    [],
    told.join(' '),
  )
  t.notOk(told.slice(0, told.indexOf('TASK_KILLED')).includes('error'), 'and no error on it')
})
