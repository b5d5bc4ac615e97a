import t from 'tap'
import { parseVersion } from '../../core/agent/docker/client.ts'
import { readFrames } from '../../core/agent/docker/frames.ts'
import { engineImageName } from '../../core/agent/docker/image.ts'
import { dockerNames } from '../../core/agent/docker/names.ts'
import { pauseProgram } from '../../core/agent/docker/pause-program.ts'
import { parseState } from '../../core/agent/docker/parse.ts'
import { dockerSpec } from '../../core/agent/docker/spec.ts'
import { firstFileOf, tarOf } from '../../core/agent/docker/tar.ts'
import { parseFrameworkId } from '../../core/model/ids.ts'
import { type Image } from '../../core/model/container.ts'
import { type CommandInfo } from '../../core/model/task.ts'
import { shellTask } from '../support/agent-process.ts'

t.test('versions of the API', async (t) => {
  const init = [{ Name: 'docker-init', Version: '0.19.0' }]
  const cases = [
    { ApiVersion: '1.41', MinAPIVersion: '1.12', Arch: 'amd64', Components: init, api: '1.41', hasInit: true },
    { ApiVersion: '1.48', MinAPIVersion: '1.44', Arch: 'arm64', api: '1.44', hasInit: false },
  ]
  for (const { api, hasInit, ...answer } of cases) t.same(parseVersion(answer), { api, hasInit, arch: answer.Arch })
  for (const answer of [{ ApiVersion: '1.40', Version: '19.03' }, {}, 'a page', null]) {
    t.throws(() => parseVersion(answer), { code: 'ERR_AGENT_DOCKER_VERSION' })
  }
})

t.test('frames, however they are cut', async (t) => {
  const bytes = Buffer.from('0100000000000003610a62020000000000000165010000000000000001000000000000017a', 'hex')
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
    }
    const seen = { stdout: '', stderr: '' }
    for await (const { stream, content } of readFrames(chunks())) seen[stream] += content.toString()
    t.same(seen, { stdout: 'a\nbz', stderr: 'e' })
  }
})

t.test('names of images', async (t) => {
  const oci = (reference: string): Image => ({ kind: 'oci', reference, forcePull: false })
  for (const [given, name] of [
    ['busybox', 'busybox'],
    ['docker://host:5000/team/app:v1', 'host:5000/team/app:v1'],
  ] as const) {
    t.equal(engineImageName(oci(given)), name)
  }
  const bad = [...['oci:/srv/layout:v1', 'docker-archive:/x.tar', '-rm', 'a?b', '../x'].map(oci), undefined]
  for (const image of [...bad, { kind: 'directory', path: '/srv' } as const]) {
    t.throws(() => engineImageName(image), { code: 'ERR_AGENT_IMAGE_NAME' })
  }
})

t.test('configurations of containers', async (t) => {
  const command = (change: Partial<CommandInfo>) => ({ shell: false, value: '', arguments: [], env: {}, ...change })
  const spec = (given: CommandInfo) =>
    dockerSpec({
      request: {
        containerId: 'c',
        frameworkId: parseFrameworkId('f'),
        info: { ...shellTask('t', ''), command: given },
        network: { kind: 'host' },
      },
      image: 'sha256:1',
      mounts: [{ source: '/a', destination: '/b', mode: 'ro' }],
      labels: {},
      networkMode: 'host',
      engine: { hasInit: true },
    })
  const cases = [
    { given: command({ shell: true, value: 'x y' }), wanted: { Entrypoint: ['/bin/sh', '-c'], Cmd: ['x y'] } },
    { given: command({ arguments: ['a', 'b'] }), wanted: { Cmd: ['a', 'b'] } },
    { given: command({ value: '/p', arguments: ['/p', 'b'] }), wanted: { Cmd: ['/p', 'b'] } },
    { given: command({ value: '/p', arguments: ['b'], user: 'app' }), wanted: { Cmd: ['/p', 'b'], User: 'app' } },
  ]
  for (const { given, wanted } of cases) t.match(spec(given), wanted)
  t.notOk('Cmd' in spec(command({})), "the image's own command")
  t.match(spec(command({})), {
    HostConfig: { Init: false, Privileged: false, Mounts: [{ Source: '/a', Target: '/b', ReadOnly: true }] },
  })
})

t.test('archives of one file', async (t) => {
  const archive = tarOf('pause', pauseProgram('amd64'))
  t.equal(archive.length % 512, 0)
  t.equal(firstFileOf(tarOf('etc/passwd', Buffer.from('root:x\n'))), 'root:x\n')
  const link = tarOf('etc/passwd', Buffer.alloc(0))
  link.write('2', 156)
  for (const other of [link, Buffer.alloc(0), Buffer.alloc(512)]) t.equal(firstFileOf(other), '')
  for (const arch of ['amd64', 'arm64']) t.equal(pauseProgram(arch).toString('latin1', 1, 4), 'ELF')
  t.throws(() => pauseProgram('s390x'), { code: 'ERR_AGENT_DOCKER_ARCH' })
})

t.test('names and states', async (t) => {
  const { agent, task, network } = dockerNames('/var/lib/weft')
  t.equal(task('job.a/b-01234567'), `weft-${agent}-job.a_b-01234567`)
  t.equal(network('x'), `weft-${agent}-x.network`)
  const running = { Running: true, Status: 'running', Pid: 7, ExitCode: 0, OOMKilled: false }
  t.match(parseState({ State: running }), { kind: 'running', pid: 7 })
  t.match(parseState({ State: { ...running, Running: false, Status: 'created' } }), { kind: 'created', pid: 0 })
  t.match(parseState({}), { kind: 'exited', pid: 0, exitCode: 0, outOfMemory: false })
})
