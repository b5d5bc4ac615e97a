import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { errorMessage } from '../base/errors.ts'
import { cgroupSuffix, findTopGroups, openCgroups, removeTopGroup } from './containerizer/cgroup.ts'
import { readChoice } from './containerizer/choose.ts'
import { isSupervisor, readSupervisors } from './containerizer/events.ts'
import { destroyContainer } from './containerizer/oci.ts'
import { secretsRoot } from './containerizer/volumes.ts'
import { openDockerClient } from './docker/client.ts'
import { removeLabelled } from './docker/docker.ts'
import { engineOf } from './docker/mark.ts'
import { dockerNames } from './docker/names.ts'
import { type AgentPaths, agentPaths } from './paths.ts'

/** How long supervisors of removed containers may take to end. */
const supervisorsEndMs = 5000

/**
 * Removes all that an agent made and that outlives it: containers, their processes, control groups, namespaces, mounts,
 * and what its state directory says of them (sandboxes and the agent's identity stay). The agent must not run. Nothing
 * there is fine. Goes on past failures. @throws AggregateError of them
 */
export async function removeEverything(stateDir: string): Promise<void> {
  if (!existsSync(stateDir)) return
  const root = realpathSync(stateDir)
  const paths = agentPaths(root)
  const groups = findTopGroups((name) => name.startsWith('weft-') && name.endsWith(`-${cgroupSuffix(root)}`))
  const steps = [
    () => removeContainers(paths, groups[0] ?? `weft-${cgroupSuffix(root)}`),
    () => removeDockerContainers(paths),
    ...groups.map((name) => () => removeTopGroup(name)),
    ...mountsBelow(root).map((path) => () => unmount(path)),
    ...['containers', 'events', 'runtime', 'netns', 'rootfs', 'trial', 'fetching'].map((name) => async () => {
      rmSync(join(root, name), { recursive: true, force: true })
    }),
    async () => rmSync(secretsRoot(paths), { recursive: true, force: true }),
  ]
  const failures: unknown[] = []
  for (const step of steps) await step().catch((error: unknown) => failures.push(error))
  if (failures.length === 0) return
  throw new AggregateError(failures, `sweeping ${root}: ${failures.map(errorMessage).join('; ')}`)
}

async function removeContainers(paths: AgentPaths, cgroupParent: string): Promise<void> {
  const runtime = readChoice(join(paths.root, 'runtime.json'))
  if (runtime === undefined || !existsSync(paths.events)) return
  const supervisors = readSupervisors(paths.events)
  const ids = new Set([...supervisors.keys(), ...(existsSync(paths.runtime) ? readdirSync(paths.runtime) : [])])
  const cgroups = openCgroups(cgroupParent)
  const ends = await Promise.allSettled([...ids].map((id) => destroyContainer({ paths, runtime, cgroups }, id)))
  for (let waitedMs = 0; waitedMs < supervisorsEndMs; waitedMs += 20) {
    if (![...supervisors].some(([id, { supervisor }]) => isSupervisor(supervisor, id))) break
    await pause(20)
  }
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []))
  if (failures.length > 0) throw new AggregateError(failures, failures.map(errorMessage).join('; '))
}

async function removeDockerContainers(paths: AgentPaths): Promise<void> {
  const socketPath = engineOf(paths)
  if (socketPath === undefined) return
  await removeLabelled(openDockerClient(socketPath), dockerNames(paths.root).agent, () => true)
  rmSync(paths.docker)
}

/** Mount points below a directory, the last mounted first. Source: proc(5), mountinfo: field 5, octal escapes. */
function mountsBelow(root: string): readonly string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const points = lines.map((line) =>
    (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 8)),
    ),
  )
  return points.filter((path) => path.startsWith(`${root}/`)).toReversed()
}

async function unmount(path: string): Promise<void> {
  execFileSync('umount', ['--lazy', '--no-mtab', path], { stdio: 'pipe' })
}
