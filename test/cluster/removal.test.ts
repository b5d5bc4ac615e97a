import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { leftovers, readFootprint } from '../../core/cli/up/footprint.ts'
import { clusterDirectory } from '../../core/cli/up/layout.ts'
import { readClusterRecord } from '../../core/cli/up/record.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually } from '../support/local-cluster.ts'
import { repositoryRoot } from '../support/tree.ts'

const weft = join(repositoryRoot, 'core/cli/main.ts')
const name = `gone-${process.pid}`

/** Runs `weft up` as a user would, until it says that the sample is there. */
async function upInFront(): Promise<ChildProcess> {
  const words = ['up', '--cluster', name, '--agents', '1', '--port', '0', '--sample']
  const child = spawn(process.execPath, [weft, ...words], { stdio: ['ignore', 'ignore', 'pipe'] })
  for await (const line of createInterface({ input: child.stderr })) if (line.includes('the sample is deployed')) break
  return child
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)))
}

function run(...words: readonly string[]): string {
  return execFileSync(process.execPath, [weft, ...words, '--cluster', name], { encoding: 'utf8' })
}

t.test('nothing stays behind', { skip: canMakeHosts }, async (t) => {
  const before = readFootprint(name, clusterDirectory(name))
  const nothingLeft = (t: Test, message: string) =>
    eventually(message, async () => {
      const left = leftovers(before, readFootprint(name, clusterDirectory(name)))
      if (left.length > 0) throw new Error(left.join('; '))
      return true
    }).then((gone) => t.ok(gone, message))
  t.teardown(() => run('down'))

  await t.test('after Ctrl-C', async (t) => {
    const child = await upInFront()
    child.kill('SIGINT')
    t.equal(await ended(child), 0)
    await nothingLeft(t, 'Ctrl-C removes everything')
  })

  await t.test('after SIGKILL of the supervisor, by weft down', async (t) => {
    const child = await upInFront()
    child.kill('SIGKILL')
    await ended(child)
    const daemons = readClusterRecord(name)?.processes ?? []
    t.equal(daemons.length, 4, 'the daemons go on without it')
    t.ok(leftovers(before, readFootprint(name, clusterDirectory(name))).length > 4)
    t.match(run('task', 'list'), /web\..*TASK_RUNNING/, 'and so does the cluster')
    t.match(run('down'), /is removed/)
    await nothingLeft(t, 'weft down removes everything')
  })

  await t.test('after SIGKILL of everything of ours, by the next weft up', async (t) => {
    const first = await upInFront()
    const record = readClusterRecord(name)
    first.kill('SIGKILL')
    for (const { pid } of record?.processes ?? []) process.kill(pid, 'SIGKILL')
    await ended(first)
    const second = await upInFront()
    t.match(run('task', 'list'), /web\..*TASK_RUNNING/)
    second.kill('SIGTERM')
    t.equal(await ended(second), 0)
    await nothingLeft(t, 'the second one removes what both made')
  })
})
