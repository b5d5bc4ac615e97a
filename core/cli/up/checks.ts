import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { AppError, errorMessage } from '../../base/errors.ts'
import { dnsAddress } from '../../../networking/protocol.ts'
import { execArgv } from '../commands/exec.ts'
import { sampleTaskName, sampleVip } from '../sample/apps.ts'
import { type ClusterLayout, type HostLayout } from './layout.ts'
import { type SampleTask } from './sample.ts'

const run = promisify(execFile)

/** Longest that one command of a check may take. */
const commandLimitMs = 15_000

/** Connections from each container when the spread over the backends is counted. */
const spreadConnections = 30

/** Something that must hold, and how to find out: by real queries and connections, never by asking the cluster. */
export interface Check {
  readonly title: string
  /** @returns what was seen; @throws when it does not hold */
  run(): Promise<string>
}

/** What became of a check. */
export interface Fact {
  readonly title: string
  readonly holds: boolean
  readonly ms: number
  readonly detail: string
}

/** What the checks need to know of the sample. */
export interface SampleFacts {
  readonly layout: ClusterLayout
  readonly tasks: readonly SampleTask[]
  /** IPv4 first; with IPv6 where the machine has it. */
  readonly vips: readonly string[]
}

/** Runs one check and times it. */
export async function runCheck(check: Check): Promise<Fact> {
  const started = performance.now()
  const done = (holds: boolean, detail: string) => ({
    title: check.title,
    holds,
    ms: performance.now() - started,
    detail,
  })
  try {
    return done(true, await check.run())
  } catch (error) {
    return done(false, errorMessage(error).trim())
  }
}

/** Everything that `npm start -- --verify` asserts while the sample runs. */
export function sampleChecks(facts: SampleFacts): readonly Check[] {
  const web = facts.tasks.filter(({ app }) => app === '/web')
  return [
    ...facts.layout.hosts.flatMap((host) => nameChecks(facts, host)),
    ...facts.layout.hosts.map((host) => hostVipCheck(facts, host)),
    ...web.flatMap((task) => containerChecks(facts, task)),
    clientCheck(facts),
    isolationCheck(facts),
  ]
}

/** Runs a command where `weft exec` would: on a host, or in a task. */
export async function runAt(layout: ClusterLayout, where: string, command: readonly string[]): Promise<string> {
  const [program, ...args] = await execArgv(layout, where, command)
  const { stdout } = await run(program, args, { timeout: commandLimitMs })
  return stdout.trim()
}

async function dig(layout: ClusterLayout, host: HostLayout, words: readonly string[]): Promise<readonly string[]> {
  const text = await runAt(layout, host.name, ['dig', `@${dnsAddress}`, '+short', '+time=2', '+tries=1', ...words])
  return text.split('\n').toSorted()
}

function nameChecks({ layout, tasks, vips }: SampleFacts, host: HostLayout): readonly Check[] {
  const addresses = tasks.filter(({ app }) => app === '/web').flatMap((task) => task.addresses)
  const resolves = (name: string, all: readonly string[]) => ({
    title: `${host.name}: ${name} resolves, over UDP and TCP`,
    run: async () => {
      for (const transport of ['+notcp', '+tcp']) {
        for (const [type, expected] of byType(all)) {
          same(await dig(layout, host, [name, type, transport]), expected.toSorted())
        }
      }
      return all.join(' ')
    },
  })
  return [resolves(sampleTaskName, addresses), resolves(sampleVip.name, vips)]
}

function byType(addresses: readonly string[]): readonly (readonly [string, readonly string[]])[] {
  const isV6 = (address: string) => address.includes(':')
  const v6 = addresses.filter(isV6)
  const v4: readonly [string, readonly string[]] = ['A', addresses.filter((address) => !isV6(address))]
  return v6.length === 0 ? [v4] : [v4, ['AAAA', v6]]
}

function hostVipCheck({ layout, vips }: SampleFacts, host: HostLayout): Check {
  return {
    title: `${host.name}: the VIP answers the host itself`,
    run: () => vipAnswers(vips, (url) => runAt(layout, host.name, curl(url))),
  }
}

/** Over each IP version that the VIP has. */
async function vipAnswers(vips: readonly string[], ask: (url: string) => Promise<string>): Promise<string> {
  const answers: string[] = []
  for (const vip of vips) {
    answers.push(await ask(`http://${vip.includes(':') ? `[${vip}]` : vip}:${sampleVip.port}/`))
  }
  return answers.join(' and ')
}

function containerChecks({ layout, tasks, vips }: SampleFacts, task: SampleTask): readonly Check[] {
  const backends = tasks.filter(({ app }) => app === '/web').map(({ id }) => id)
  const where = `container on ${task.node}`
  const byName = `http://${sampleVip.name}:${sampleVip.port}/`
  return [
    { title: `${where}: the service answers by its name`, run: () => runAt(layout, task.id, curl(byName)) },
    {
      title: `${where}: the service answers by its VIP`,
      run: () => vipAnswers(vips, (url) => runAt(layout, task.id, curl(url))),
    },
    {
      title: `${where}: ${spreadConnections} connections reach all ${backends.length} backends`,
      run: async () => {
        const text = await runAt(layout, task.id, curl(`${byName}?[1-${spreadConnections}]`))
        const counts = backends.map((id) => text.split(`web ${id} `).length - 1)
        const total = counts.reduce((sum, count) => sum + count, 0)
        if (counts.includes(0) || total !== spreadConnections) throw uneven(counts)
        return counts.join(' + ')
      },
    },
  ]
}

function uneven(counts: readonly number[]): AppError {
  return new AppError('ERR_CLI_CHECK', `answers by backend: ${counts.join(' + ')} of ${spreadConnections}`)
}

function clientCheck({ layout, tasks }: SampleFacts): Check {
  return {
    title: 'the client calls the service by its name',
    run: async () => {
      const client = tasks.find(({ app }) => app === '/client')
      if (client === undefined) throw new AppError('ERR_CLI_CHECK', 'there is no client task')
      const seen = 'timeout 10 sh -c "until grep -m1 sees stdout; do sleep 0.1; done"'
      return await runAt(layout, client.id, ['sh', '-c', `cd /mnt/mesos/sandbox && ${seen}`])
    },
  }
}

function isolationCheck({ layout, tasks }: SampleFacts): Check {
  const client = tasks.find(({ app }) => app === '/client')
  const web = tasks.find(({ app }) => app === '/web')
  return {
    title: 'network lab can not reach network dcos',
    run: async () => {
      const from = client?.byNetwork['lab']?.[0]
      if (client === undefined || web === undefined || from === undefined)
        throw new AppError('ERR_CLI_CHECK', 'no address on lab')
      const words = [...curl(`http://${web.address}:8080/`), '--interface', from, '--connect-timeout', '1']
      const answer = await runAt(layout, client.id, words).catch(() => undefined)
      if (answer !== undefined)
        throw new AppError('ERR_CLI_CHECK', `${from} got an answer of ${web.address}: ${answer}`)
      return `${from} gets no answer of ${web.address}`
    },
  }
}

function curl(url: string): readonly string[] {
  return ['curl', '--silent', '--show-error', '--fail', '--max-time', '10', url]
}

function same(seen: readonly string[], expected: readonly string[]): void {
  if (seen.join(' ') === expected.join(' ')) return
  throw new AppError('ERR_CLI_CHECK', `expected ${expected.join(' ')}, got ${seen.join(' ') || 'nothing'}`)
}
