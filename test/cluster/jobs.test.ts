import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { digAt, eventually, killDaemon, startTestCluster } from '../support/local-cluster.ts'
import { repositoryRoot } from '../support/tree.ts'

const run = promisify(execFile)

const definitions = `
id: night.report
run:
  cmd: |
    echo hello from $METRONOME_JOB_ID
    ip -4 addr show eth0 || true
    while [ ! -e /tmp/never ] && [ $((n = n + 1)) -le 4 ]; do sleep 1; done
  cpus: 0.1
  mem: 32
  taskKillGracePeriodSeconds: 1
  networks:
    - mode: container
      name: dcos
---
id: night.broken
run: { cmd: 'exit 3', cpus: 0.1, mem: 32 }
schedules:
  - { id: often, cron: '* * * * *', enabled: false }
`

t.test('a job runs on a network, has a name while it runs, and leaves a result', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(1, 'jobs')
  const folder = mkdtempSync(join(tmpdir(), 'weft-jobs-'))
  t.teardown(async () => {
    rmSync(folder, { recursive: true, force: true })
    await cluster.stop()
  })
  const weft = async (...words: readonly string[]) => {
    const argv = ['--disable-warning=ExperimentalWarning', join(repositoryRoot, 'core/cli/main.ts')]
    const { stdout } = await run(process.execPath, [...argv, '--cluster', cluster.layout.name, 'job', ...words])
    return stdout
  }
  const file = join(folder, 'jobs.yaml')
  writeFileSync(file, definitions)
  t.match(await weft('add', file), 'night.report added\nnight.broken added')
  const id = (await weft('run', 'night.report')).trim()
  const name = 'report-night.metronome.mesos'
  const host = cluster.layout.hosts[0]?.name ?? ''
  const address = await eventually('the name is there', async () => {
    const [found] = await digAt(cluster, host, name)
    return found
  })
  t.match(address, /^10\./, 'an address of the network')
  t.match(await cluster.api.get(`/v1/jobs/night.report/runs/${id}`), { status: 'ACTIVE', completedAt: null })
  // The leader is killed in the middle of the run: the next one takes the run on.
  await killDaemon(cluster, `${host}/master`)
  const result = await eventually('the run is over', async () => {
    const { status, body } = await cluster.api.request('GET', '/v1/jobs/night.report?embed=history')
    const count: unknown = Reflect.get(Object(Reflect.get(Object(body), 'history')), 'successCount')
    return status === 200 && count === 1 ? body : undefined
  })
  t.match(result, { history: { successCount: 1, failureCount: 0, successfulFinishedRuns: [{ id }] } })
  t.match(await weft('logs', 'night.report'), 'hello from night.report')
  await eventually('the name is gone', async () => ((await digAt(cluster, host, name)).length === 0 ? true : undefined))
  await t.rejects(weft('run', 'night.broken', '--wait'), { code: 1, stdout: /FAILED/ })
  t.match(await weft('runs', 'night.broken'), /FAILED/)
  t.match(await weft('schedule', 'night.broken'), /often +\* \* \* \* \* +UTC +false/)
  t.match(await weft('list'), /night\.report +0 +1 +0/)
  await weft('remove', 'night.broken')
  t.equal((await cluster.api.request('GET', '/v1/jobs/night.broken')).status, 404)
})
