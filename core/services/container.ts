import { type ContainerInfo, type FetchUri, type Image, type VolumeMount } from '../model/container.ts'
import { type TaskInfo } from '../model/task.ts'
import { type AppDefinition } from './app.ts'
import { type Finding } from '../scheduling/problem.ts'
import { type AppFields } from './schema.ts'

/** How the tasks of an app get their root file system, volumes and files. */
export function containerOf(app: AppDefinition): Pick<TaskInfo, 'container' | 'fetch'> {
  const container = containerInfo(app)
  return {
    ...(container === undefined ? {} : { container }),
    ...(app.fetch.length === 0 ? {} : { fetch: app.fetch.map(fetchUri) }),
  }
}

/** What is wrong with them. */
export function checkContainer({ container, secrets }: AppFields): readonly Finding[] {
  if (container === undefined) return []
  const { type, docker, volumes } = container
  const findings: Finding[] = []
  if (type === 'DOCKER' && docker === undefined)
    findings.push({ path: '/container/docker', error: 'type DOCKER needs it' })
  if (type === 'MESOS' && docker?.privileged === true) {
    findings.push({ path: '/container/docker/privileged', error: 'is for type DOCKER' })
  }
  for (const [index, volume] of volumes.entries()) {
    if (!('secret' in volume) || Object.hasOwn(secrets, volume.secret)) continue
    const error = `there is no secret "${volume.secret}" in the app's secrets`
    findings.push({ path: `/container/volumes(${index})/secret`, error })
  }
  return findings
}

function containerInfo({ container, secrets }: AppDefinition): ContainerInfo | undefined {
  const volumes = (container?.volumes ?? []).flatMap((volume) => ('persistent' in volume ? [] : [volume])) // those come with the resources
  if (container === undefined || (container.docker === undefined && volumes.length === 0)) return undefined
  const { type, docker } = container
  return {
    type: type === 'DOCKER' ? 'docker' : 'mesos',
    ...(docker === undefined ? {} : { image: imageOf(docker.image, docker.forcePullImage) }),
    volumes: volumes.map((volume) => volumeMount(volume, secrets)),
    ...(docker?.privileged === true ? { privileged: true } : {}),
  }
}

/** `directory:/PATH` and `tarball:URI` beside the names that skopeo knows. */
function imageOf(image: string, forcePull: boolean): Image {
  if (image.startsWith('directory:')) return { kind: 'directory', path: image.slice('directory:'.length) }
  if (image.startsWith('tarball:')) return { kind: 'tarball', uri: image.slice('tarball:'.length) }
  return { kind: 'oci', reference: image, forcePull }
}

type Volume = Exclude<NonNullable<AppDefinition['container']>['volumes'][number], { readonly persistent: unknown }>

function volumeMount(volume: Volume, secrets: AppDefinition['secrets']): VolumeMount {
  const { containerPath } = volume
  if (!('secret' in volume)) {
    const mode = volume.mode === 'RO' ? 'ro' : 'rw'
    return { containerPath, mode, source: { kind: 'host', path: volume.hostPath } }
  }
  const source = secrets[volume.secret]?.source ?? volume.secret
  return { containerPath, mode: 'ro', source: { kind: 'secret', value: '', source } }
}

function fetchUri({ uri, extract, executable, cache, destPath }: AppDefinition['fetch'][number]): FetchUri {
  return { uri, extract, executable, cache, ...(destPath === undefined ? {} : { outputFile: destPath }) }
}
