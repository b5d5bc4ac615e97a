import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { runAt } from '../../core/cli/up/checks.ts'
import { deploySample, sampleTasks } from '../../core/cli/up/sample.ts'
import { sampleVip } from '../../core/cli/sample/apps.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually, startTestCluster } from '../support/local-cluster.ts'
import { repositoryRoot } from '../support/tree.ts'

const weft = join(repositoryRoot, 'core/cli/main.ts')

t.test('policies, as an operator uses them', { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'policy')
  t.teardown(() => cluster.stop())
  const { layout, api } = cluster
  await deploySample(api, 2)
  const tasks = await sampleTasks(api)
  const client = tasks.find(({ app }) => app === '/client')
  const run = (...words: readonly string[]) =>
    execFileSync(process.execPath, [weft, ...words, '--cluster', layout.name], { encoding: 'utf8' })
  const curl = (where: string, ...words: readonly string[]) =>
    runAt(layout, where, ['curl', '--silent', '--fail', '--max-time', '3', ...words]).catch(() => undefined)
  const converged = () => run('converge')

  await t.test('a dry run tells which of the flows that are there would change, and changes none', async (t) => {
    const deny = [
      'deny',
      'noclient',
      '--from',
      'task:/client',
      '--to',
      'task:/web',
      '--ports',
      '8080',
      '--protocol',
      'tcp',
    ]
    await eventually('a flow of the client is told', async () =>
      /accept +drop/.test(run('policy', 'add', ...deny, '--dry-run')) ? true : undefined,
    )
    t.match(await curl('client', `http://${sampleVip.name}/`), /^web /)
    t.equal(run('policy', 'list').includes('noclient'), false)
    run('policy', 'add', ...deny)
    converged()
    t.equal(await curl('client', `http://${sampleVip.name}/`), undefined, 'denied through the VIP')
    t.match(await curl('/web', `http://${sampleVip.name}/`), /^web /, 'others are not')
    t.match(run('policy', 'show', 'noclient'), /"packets": [1-9]/, 'and counted')
    run('policy', 'remove', 'noclient')
    converged()
    t.match(await curl('client', `http://${sampleVip.name}/`), /^web /)
  })

  await t.test('a network may be let into another, for one app only', async (t) => {
    const lab = [
      '--interface',
      client?.addresses.find((address) => address.startsWith('10.84.')) ?? '',
      '--connect-timeout',
      '1',
    ]
    const web = tasks.filter(({ app }) => app === '/web').map(({ address }) => `http://${address}:8080/`)
    t.equal(await curl('client', ...lab, String(web[0])), undefined, 'apart by default')
    run(
      'policy',
      'add',
      'allow',
      'lab-to-web',
      '--from',
      'network:lab',
      '--to',
      'task:/web',
      '--protocol',
      'tcp',
      '--ports',
      '8080',
    )
    converged()
    // The client's eth0 is on dcos: a packet from its lab address leaves by eth0 and is a forged source there.
    t.equal(
      await curl('client', ...lab, String(web[0])),
      undefined,
      'forged sources stay out whatever the policies say',
    )
    run('policy', 'remove', 'lab-to-web')
  })

  await t.test('wrong policies are refused, with the path', async (t) => {
    const bad = { name: 'x', action: 'perhaps', from: { kind: 'any' }, to: { kind: 'any' } }
    const { status, body } = await api.request('POST', '/weft/v1/policies', bad)
    t.equal(status, 422)
    t.match(JSON.stringify(body), /action/)
  })
})
