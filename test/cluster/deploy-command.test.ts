import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'
import { startTestCluster } from '../support/local-cluster.ts'
import { repositoryRoot } from '../support/tree.ts'

const run = promisify(execFile)
const main = ['--disable-warning=ExperimentalWarning', join(repositoryRoot, 'core/cli/main.ts')]

/** The commands of the README's walk through a deployment, word for word, with what the output must have. */
const expected: Readonly<Record<string, RegExp>> = {
  'app init hello.yaml': /written/,
  'app validate hello.yaml': /1 right/,
  'app plan hello.yaml': /\/hello: new .*0 -> 2\n {2}placed: 1 on agent1, 1 on agent2/,
  'app deploy hello.yaml': /\/hello deployed/,
  'task list': /hello\.\S+ +TASK_RUNNING +healthy/,
  'exec agent1 -- dig +short hello.marathon.mesos': /^10\.\S+\n10\.\S+\n$/,
  'exec agent1 -- curl -s http://hello.marathon.l4lb.thisdcos.directory/': /hello from /,
  'app scale /hello 3': /scaled to 3/,
  'app rollback /hello': /is what it was/,
  'app logs /hello': /hello\.\S+: listening on 8080/,
  'app stop /hello': /stopped/,
  'app remove /hello': /removed/,
}

t.test("the README's way from a file to a name and a virtual address", { skip: canMakeHosts }, async (t) => {
  const cluster = await startTestCluster(2, 'deploy')
  const cwd = mkdtempSync(join(tmpdir(), 'weft-deploy-'))
  t.teardown(async () => {
    rmSync(cwd, { recursive: true, force: true })
    await cluster.stop()
  })
  const globals = ['--cluster', cluster.layout.name]
  const text = readFileSync(join(repositoryRoot, 'README.md'), 'utf8')
  const section = /## From a file to an address\n[\s\S]*?\n```\n(npm run [\s\S]*?)```/.exec(text)?.[1] ?? ''
  const commands = [...section.matchAll(/npm run weft -- ([^#\n]+)/g)].map(([, words = '']) => words.trim())
  t.same(commands, Object.keys(expected), 'the README has these commands')
  for (const command of commands) {
    const { stdout } = await run(process.execPath, [...main, ...globals, ...command.split(' ')], { cwd })
    t.match(stdout, expected[command], command)
  }
  // Ctrl-C ends the command, not the deployment; names are completed.
  const stuck = spawn(process.execPath, [...main, ...globals, 'app', 'deploy', '-'], {
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  let told = ''
  stuck.stderr.setEncoding('utf8').on('data', (more: string) => {
    told += more
  })
  stuck.stdin.end('{"id": "/huge", "cmd": "x", "cpus": 1000}')
  await once(stuck.stderr, 'data') // its progress: the deployment is there
  stuck.kill('SIGINT')
  t.same(await once(stuck, 'exit'), [130, null])
  t.match(told, /it goes on; follow it: weft deployment wait/)
  t.match(await cluster.api.get('/v2/deployments'), [{ affectedApps: ['/huge'] }])
})
