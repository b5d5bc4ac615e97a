import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { cgroupParent, openCgroups } from '../../core/agent/containerizer/cgroup.ts'
import { chooseRuntime } from '../../core/agent/containerizer/choose.ts'
import {
  type ContainerExit,
  type Containerizer,
  type ContainerRequest,
} from '../../core/agent/containerizer/containerizer.ts'
import { prepareHostView } from '../../core/agent/containerizer/host-view.ts'
import { openProvisions } from '../../core/agent/containerizer/open-provisions.ts'
import { openOciContainerizer } from '../../core/agent/containerizer/oci.ts'
import { agentPaths, containerPaths } from '../../core/agent/paths.ts'
import { removeEverything } from '../../core/agent/sweep.ts'
import { type Clock, systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { parseFrameworkId } from '../../core/model/ids.ts'
import { openManualClock } from '../support/agent-clock.ts'
import { openFakeContainerizer } from '../support/agent-containerizer.ts'
import { shellTask } from '../support/agent-process.ts'
import { boxImage, canRunDockerd, openDockerBench, startTestDockerd } from '../support/dockerd.ts'
import { canMakeHosts } from '../support/hosts.ts'

type Launch = (
  request: Omit<ContainerRequest, 'network'>,
  options: { readonly signal: AbortSignal },
) => ReturnType<Containerizer['launch']>

interface Opened {
  readonly dir?: string
  readonly containerizer: Containerizer
  readonly launch: Launch
  readonly close: () => Promise<void>
}

const onHost =
  (containerizer: Containerizer): Launch =>
  (request, options) =>
    containerizer.launch({ ...request, network: { kind: 'host' } }, options)

const stubborn = 'trap "" TERM; while :; do sleep 0.1; done'
const implementations = [
  {
    name: 'in memory',
    skip: false,
    commands: { exit: 'exit 3', sleep: 'sleep', stubborn: 'stubborn' },
    open: async (onExit: (exit: ContainerExit) => void): Promise<Opened> => {
      const containerizer = openFakeContainerizer(onExit)
      return { containerizer, launch: onHost(containerizer), close: async () => undefined }
    },
  },
  {
    name: 'OCI',
    skip: canMakeHosts,
    commands: { exit: 'exit 3', sleep: 'sleep 1000', stubborn },
    open: openReal,
  },
  {
    name: 'Docker',
    skip: canRunDockerd,
    commands: { exit: 'exit 3', sleep: 'sleep 1000', stubborn },
    open: openDocker,
  },
] as const

/** Its Engine is in another network namespace, so each container is on a network of its own, which must be prepared. */
async function openDocker(onExit: (exit: ContainerExit) => void): Promise<Opened> {
  const dockerd = await startTestDockerd()
  const { containerizer, paths, remove } = openDockerBench(dockerd.socketPath, { onExit })
  const image = { kind: 'oci', reference: boxImage, forcePull: false } as const
  const launch: Launch = async (given, options) => {
    const request = { ...given, info: { ...given.info, container: { type: 'docker', image, volumes: [] } as const } }
    const { netns } = containerPaths(paths, given.containerId)
    await containerizer.prepare?.({ ...request, netns }, { ...options, onProgress: () => undefined })
    return containerizer.launch({ ...request, network: { kind: 'own', netns, addresses: [] } }, options)
  }
  const close = async () => {
    try {
      await remove()
    } finally {
      await dockerd.remove()
    }
  }
  return { containerizer, launch, close }
}

async function openReal(onExit: (exit: ContainerExit) => void, clock: Clock = systemClock): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-oci-'))
  const paths = agentPaths(dir)
  const host = prepareHostView(paths.rootfs, [dir])
  const cgroups = openCgroups(cgroupParent('test', dir))
  const runtime = await chooseRuntime({ paths, host, cgroups })
  const ending = new AbortController()
  const flags = { insecureRegistries: [], hostVolumes: [], imageDiskMb: 1000 }
  const at = { paths, host, clock, log: silentLog }
  const provisions = openProvisions(at, flags, ending)
  const options = { ...at, ...provisions, cgroups, runtime, onExit, signal: ending.signal }
  const close = async () => {
    ending.abort()
    await removeEverything(dir)
    rmSync(dir, { recursive: true })
  }
  const containerizer = openOciContainerizer(options)
  return { dir, containerizer, launch: onHost(containerizer), close }
}

for (const { name, skip, commands, open } of implementations) {
  t.test(name, { skip }, async (t) => {
    const exits: ContainerExit[] = []
    const { containerizer, launch, close } = await open((exit) => exits.push(exit))
    t.teardown(close)
    const { signal } = new AbortController()
    const start = (containerId: string, command: string, given = signal) =>
      launch({ containerId, frameworkId: parseFrameworkId('f'), info: shellTask('t', command) }, { signal: given })
    const ended = async (id: string) => {
      for (let i = 0; i < 1000 && !exits.some((exit) => exit.containerId === id); i++) await pause(10)
      return exits.find((exit) => exit.containerId === id)
    }
    t.ok((await start('short', commands.exit)).pid >= 0)
    t.same(await ended('short'), { containerId: 'short', status: 3, outOfMemory: false })
    await start('sleeps', commands.sleep)
    t.same((await containerizer.recover(['sleeps', 'short', 'never'])).get('sleeps')?.kind, 'running')
    t.equal(await containerizer.exec('sleeps', ['true'], { signal }), 0)
    await t.rejects(containerizer.exec('sleeps', ['sleep', '1000'], { signal: AbortSignal.abort() }), 'aborted')
    containerizer.signal('sleeps', 'TERM')
    t.match(await ended('sleeps'), { status: 143 }, 'TERM ends what does not catch it')
    await start('stays', commands.stubborn)
    await pause(100) // it has no other way to say that its trap is set
    containerizer.signal('stays', 'TERM')
    containerizer.signal('stays', 'KILL')
    t.match(await ended('stays'), { status: 137 }, 'KILL ends the rest')
    t.match((await containerizer.recover(['stays'])).get('stays'), { kind: 'exited', exit: { status: 137 } })
    await containerizer.remove('stays')
    t.match((await containerizer.recover(['stays'])).get('stays'), { kind: 'absent' }, 'removed')
    await containerizer.remove('stays')
    containerizer.signal('stays', 'KILL')
    await t.rejects(start('given-up', commands.sleep, AbortSignal.abort()), 'a launch that is given up')
    t.equal(exits.length, 3, 'each end was told once')
  })
}

t.test('a supervisor that is killed', { skip: canMakeHosts }, async (t) => {
  const exits: ContainerExit[] = []
  const clock = openManualClock()
  const { containerizer, close, dir = '' } = await openReal((exit) => exits.push(exit), clock)
  t.teardown(close)
  const { signal } = new AbortController()
  const request = { containerId: 'c', frameworkId: parseFrameworkId('f'), info: shellTask('t', 'sleep 1000') }
  const { pid } = await containerizer.launch({ ...request, network: { kind: 'host' } }, { signal })
  process.kill(Number(readFileSync(join(dir, 'events', 'c.running'), 'utf8')), 'SIGKILL')
  await clock.advance(30_000)
  t.same(exits, [], 'its container goes on')
  process.kill(pid, 'SIGKILL')
  for (let i = 0; i < 1000 && exits.length === 0; i++) await clock.advance(30_000)
  t.same(exits, [{ containerId: 'c', outOfMemory: false }], 'an audit finds that it has ended')
})
