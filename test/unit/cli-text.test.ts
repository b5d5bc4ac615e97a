import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command } from 'commander'
import t from 'tap'
import { formatCompletion } from '../../core/cli/completion.ts'
import { parseDefinitions } from '../../core/cli/definition-file.ts'
import { openDisplay } from '../../core/cli/deploying/display.ts'
import { formatPlan } from '../../core/cli/deploying/plan-text.ts'
import { appProgress, formatProgress, formatReasons, podProgress } from '../../core/cli/deploying/progress.ts'
import { validate } from '../../core/cli/deploying/validate.ts'
import { parsePath, wantedOf } from '../../core/cli/deploying/wanted.ts'
import { createProgram } from '../../core/cli/program.ts'
import { repositoryRoot } from '../support/tree.ts'

t.test('what is wrong in a file, by line and column', async (t) => {
  const check = (text: string) =>
    validate(wantedOf(parseDefinitions(text, 'f'))).map(({ line, column, path }) => `${line}:${column} ${path}`)
  const port = '  portMappings:\n    - containerPort: 80\n      hostPort: many\n'
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['nothing', 'id: /a\ncmd: x\n', []],
    ['a type', 'id: /a\ncmd: x\ncpus: many\n', ['3:7 /cpus']],
    ['deep inside', `id: /a\ncmd: x\ncontainer:\n${port}`, ['6:17 /container/portMappings(0)/hostPort']],
    ['a field that does not exist', 'id: /a\ncmd: x\ninstance: 3\n', ['3:11 /instance']],
    ['what is missing: the whole', 'id: /a\n', ['1:1 /cmd']],
    ['the second of a list', '- {id: /a, cmd: x}\n- {id: /b, cmd: x, mem: -1}\n', ['2:25 /mem']],
    ['the second document', 'id: /a\ncmd: x\n---\nid: /b\ncmd: x\nenv: 3\n', ['6:6 /env']],
    ['an app of a group', 'id: /g\napps:\n  - id: /g/a\n    cmd: x\n    cpus: []\n', ['5:11 /apps(0)/cpus']],
    ['a pod', 'id: /p\ncontainers:\n  - name: 7\n', ['3:11 /containers(0)/name']],
    ['one path for an app and a group', '- {id: /a, cmd: x}\n- {id: /a/b, cmd: x}\n', ['2:8 /id']],
  ]
  for (const [name, text, places] of cases) {
    const found = check(text)
    t.same(places.length === 0 ? found : found.slice(0, 1), places, name)
  }
  t.throws(() => check('id: j\nrun: {cmd: x}\n'), { code: 'ERR_CLI_USAGE', message: /weft job add/ })
  t.same(parsePath('/container/portMappings(0)/labels(VIP_0)'), ['container', 'portMappings', 0, 'labels', 'VIP_0'])
  for (const name of ['app', 'group', 'pod']) {
    t.same(check(readFileSync(join(repositoryRoot, `core/cli/sample/${name}.yaml`), 'utf8')), [], `the example ${name}`)
  }
})

const task = (version: string, more: object = {}) => ({ version, state: 'TASK_RUNNING', ...more })
const here = { ipAddresses: [{ ipAddress: '10.80.0.2' }] }

t.test('how far an app is', async (t) => {
  const app = { instances: 3, versionInfo: { lastConfigChangeAt: 'new' }, networks: [{ mode: 'container' }] }
  const alive = { healthCheckResults: [{ alive: true }] }
  const cases: readonly (readonly [string, object, string])[] = [
    ['nothing yet', { ...app, tasks: [] }, '0 0 0 0'],
    ['a place, no address', { ...app, tasks: [task('new', { ipAddresses: [] })] }, '1 0 0 0'],
    ['no check: it serves', { ...app, tasks: [task('new', here)] }, '1 1 1 0'],
    ['a check without an answer', { ...app, healthChecks: [{}], tasks: [task('new', here)] }, '1 1 0 0'],
    ['a check that passed', { ...app, healthChecks: [{}], tasks: [task('new', { ...here, ...alive })] }, '1 1 1 0'],
    ['old ones', { ...app, tasks: [task('old', here), task('new', here)] }, '1 1 1 1'],
    ['the host has the address', { ...app, networks: [{ mode: 'host' }], tasks: [task('new')] }, '1 1 1 0'],
  ]
  for (const [name, body, expected] of cases) {
    const { placed, addressed, healthy, old } = appProgress('/a', { ...body })
    t.equal([placed, addressed, healthy, old].join(' '), expected, name)
  }
  t.match(appProgress('/a', undefined), { wanted: 0, placed: 0 }, 'it is gone')
  const instance = { status: 'STABLE', networks: [{}], specReference: '/v2/pods/p::versions/v2' }
  t.match(podProgress('/p', { spec: { version: 'v2', scaling: { instances: 2 } }, instances: [instance, {}] }), {
    ...{ wanted: 2, placed: 1, addressed: 1, healthy: 1, old: 1 },
  })
})

t.test('progress on a terminal is drawn over; elsewhere each change is a line', async (t) => {
  const one = { id: '/a', wanted: 1, placed: 1, addressed: 0, healthy: 0, old: 0 }
  const done = { ...one, addressed: 1, healthy: 1 }
  const base = { id: 'd', step: '1 of 1', apps: [one], waitingFor: ['/a: address'] }
  const nodes = { version: 7, reached: 1, nodes: 3 }
  t.match(formatProgress({ ...base, apps: [done], nodes }, 1), [/healthy 1\/1 .*on 1 of 3 nodes.* 1\.0 s$/])
  for (const isTTY of [true, false]) {
    let nowMs = 0
    let text = ''
    const write = (more: string) => {
      text += more
    }
    const show = openDisplay({ isTTY, columns: 200, write }, () => nowMs)
    const steps = [base, base, { ...base, apps: [done], nodes }]
    for (const step of steps) {
      show(step)
      nowMs += 3_500
    }
    t.equal(text.match(/placed/g)?.length, isTTY ? 3 : 2)
    t.equal(text.includes('\u001b[1A'), isTTY)
    t.match(text, /waits: \/a: address/, 'reasons come when nothing has changed for a while')
  }
  const waits = [1, 2, 3].map((n) => ({ app: '/a', instance: `a.${n}`, for: 'health: no check has answered yet' }))
  t.same(formatReasons([...waits, { app: '/b', for: 'dependency /a' }]), [
    '/a (a.1): health: no check has answered yet, and 2 more',
    '/b: dependency /a',
  ])
})

t.test('a plan in words', async (t) => {
  const text = formatPlan({
    apps: [
      {
        ...{ id: '/a', change: 'replace', step: 1, instances: { from: 2, to: 3 }, stops: 0, unplaced: 1 },
        changes: [{ path: '/env(A)', to: 'b' }],
        restarts: [{ id: 'a.1', host: 'agent1' }],
        placements: [{ host: 'agent1', count: 2 }],
        reasons: [{ host: 'agent2', reason: 'InsufficientCpus', detail: 'wants 1 cpus, 0 are free' }],
      },
    ],
    ...{ fits: false, interrupts: ['dep'] },
  })
  for (const part of [
    '/a: changed, with new instances (step 1), instances: 2 -> 3',
    '/env(A): (not there) -> "b"',
    'replaced: a.1 on agent1',
    'placed: 2 on agent1',
    'not placed: 1',
    'agent2: InsufficientCpus: wants 1 cpus',
    'deployment dep is under way',
    'does not fit',
  ]) {
    t.ok(text.includes(part), part)
  }
})

/** Every command with its path, those that are hidden left out. */
const commandsOf = (command: Command, path: readonly string[] = []): readonly (readonly string[])[] =>
  command.commands.flatMap((child) => [[...path, child.name()], ...commandsOf(child, [...path, child.name()])])

t.test('every command has a description, and completes', async (t) => {
  const program = createProgram()
  const walk = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(walk)]
  t.same(
    walk(program)
      .filter((command) => command.description() === '')
      .map((command) => `${command.parent?.name()} ${command.name()}`),
    [],
  )
  const bash = formatCompletion(program, 'bash')
  for (const path of commandsOf(program)) t.ok(bash.includes(`" ${path.join(' ')}")`), path.join(' '))
  t.match(formatCompletion(program, 'fish'), /__weft_at app' -a deploy/)
  t.match(formatCompletion(program, 'zsh'), /bashcompinit/)
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['weft', 'ap'], /^app$/],
    [['weft', 'app', 'd'], /^deploy$/],
    [['weft', '--cluster', 'x', 'app', 'show', '/he'], /^__complete,app,--cluster,x$/],
    [['weft', 'network', 'show', ''], /__complete,network$/],
    [['weft', 'app', 'scale', '/a', ''], /--timeout/],
  ]
  for (const [words, expected] of cases) t.match(completed(bash, words), expected, words.join(' '))
})

/** What bash would offer; for names: the call that is made for them. */
function completed(script: string, words: readonly string[]): string {
  const test = `${script}
weft() { local IFS=,; echo "\${COMP_WORDS[COMP_CWORD]}$*" ; }
compgen() { if [ "$3" = -- ] && [[ $2 == *__complete* ]]; then echo "\${2#"\${COMP_WORDS[COMP_CWORD]}"}"; else builtin compgen "$@"; fi; }
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; echo "\${COMPREPLY[*]}"`
  return execFileSync('bash', ['-c', test, 'bash', ...words], { encoding: 'utf8' }).trim()
}
