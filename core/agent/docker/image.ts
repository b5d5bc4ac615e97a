import { AppError, hasCode } from '../../base/errors.ts'
import { type Image } from '../../model/container.ts'
import { findIdentity } from '../image/users.ts'
import { type PullProgress } from '../image/skopeo.ts'
import { type OciUser } from '../containerizer/spec.ts'
import { type DockerClient } from './client.ts'
import { type DockerImage, field, parseImage, textOf } from './parse.ts'
import { firstFileOf } from './tar.ts'

/** The name by which an Engine knows the image. @throws ERR_AGENT_IMAGE_NAME for what no Engine can pull */
export function engineImageName(image: Image | undefined): string {
  if (image?.kind === 'oci') {
    const name = image.reference.startsWith('docker://') ? image.reference.slice('docker://'.length) : image.reference
    if (/^[a-z0-9][\w.:@/-]*$/i.test(name) && !/^(oci|oci-archive|docker-archive|dir):/.test(name)) return name
  }
  const found = image === undefined ? 'none' : image.kind === 'oci' ? image.reference : `a ${image.kind}`
  const advice = 'Docker takes NAME:TAG of a registry or of its own images; use type MESOS for others'
  throw new AppError('ERR_AGENT_IMAGE_NAME', `image ${found}: ${advice}`)
}

/** Pulls an image that the Engine lacks, or that shall be looked up again. @throws ERR_AGENT_IMAGE, ERR_AGENT_DOCKER_AWAY */
export async function provideDockerImage(
  client: DockerClient,
  wanted: { readonly name: string; readonly forcePull: boolean },
  progress: PullProgress,
): Promise<DockerImage> {
  const { name, forcePull } = wanted
  const found = forcePull ? undefined : await findImage(client, name, progress)
  if (found !== undefined) return found
  await pull(client, name, progress)
  const pulled = await findImage(client, name, progress)
  if (pulled !== undefined) return pulled
  throw new AppError('ERR_AGENT_IMAGE', `image ${name}: Docker pulled it and has it not`)
}

/** An image that the Engine has. */
export async function findImage(
  client: DockerClient,
  name: string,
  options: { readonly signal: AbortSignal },
): Promise<DockerImage | undefined> {
  try {
    return parseImage(await client.call({ method: 'GET', path: `/images/${name}/json` }, options))
  } catch (error) {
    if (hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) return undefined
    throw error
  }
}

async function pull(client: DockerClient, name: string, { signal, onProgress }: PullProgress): Promise<void> {
  onProgress(`pulling image ${name}`)
  // Without a tag the Engine would pull all of them.
  const hasTag = /[:@]/.test(name.slice(name.lastIndexOf('/') + 1))
  const query = { fromImage: hasTag ? name : `${name}:latest` }
  const fail = (problem: string, cause?: unknown) =>
    new AppError('ERR_AGENT_IMAGE', `image ${name}: ${problem}`, { cause })
  const layers = new Map<string, string>()
  try {
    const lines = readLines(await client.stream({ method: 'POST', path: '/images/create', query }, { signal }))
    for await (const line of lines) {
      const message: unknown = JSON.parse(line)
      const problem = textOf(field(message, 'error'))
      if (problem !== '') throw fail(problem)
      const id = textOf(field(message, 'id'))
      if (id !== '') layers.set(id, textOf(field(message, 'status')))
      const done = [...layers.values()].filter((status) => /^(Pull complete|Already exists)/.test(status)).length
      onProgress(`pulling image ${name}: ${done} of ${Math.max(layers.size - 1, done)} layers`)
    }
  } catch (error) {
    // Which names exist nobody may learn from a registry: not found is what it says of all.
    if (hasCode(error, 'ERR_AGENT_DOCKER') || hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) {
      throw fail(error instanceof Error ? error.message : '', error)
    }
    throw error
  }
}

async function* readLines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of source) {
    const lines = (rest + chunk.toString('utf8')).split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter((line) => line.trim() !== '')
  }
  if (rest.trim() !== '') yield rest
}

/**
 * Numeric identity of a user of an image; names are looked up in its files, through a container that never starts.
 * @throws ERR_AGENT_USER
 */
export async function dockerUser(
  client: DockerClient,
  at: { readonly image: DockerImage; readonly user: string; readonly labels: Readonly<Record<string, string>> },
  options: { readonly signal: AbortSignal },
): Promise<OciUser> {
  const { user, image, labels } = at
  if (/^(root|\d*)$/.test(user) || /^\d+:\d+$/.test(user)) return numeric(user === 'root' ? '' : user)
  const body = { Image: image.id, Cmd: ['/never-started'], Labels: labels }
  const made = await client.call({ method: 'POST', path: '/containers/create', body }, options)
  const container = `/containers/${textOf(field(made, 'Id'))}`
  try {
    const read = async (path: string) => readFileIn(client, { container, path }, options)
    const [passwd, group] = [await read('/etc/passwd'), await read('/etc/group')]
    const { uid, gid } = findIdentity(user, { passwd, group })
    return { uid, gid }
  } finally {
    const query = { force: '1', v: '1' }
    await client.call({ method: 'DELETE', path: container, query }, { signal: AbortSignal.timeout(30_000) })
  }
}

function numeric(user: string): OciUser {
  const { uid, gid } = findIdentity(user, { passwd: '', group: '' })
  return { uid, gid }
}

async function readFileIn(
  client: DockerClient,
  { container, path }: { readonly container: string; readonly path: string },
  options: { readonly signal: AbortSignal },
): Promise<string> {
  const chunks: Buffer[] = []
  try {
    const call = { method: 'GET', path: `${container}/archive`, query: { path } } as const
    for await (const chunk of await client.stream(call, options)) chunks.push(chunk)
  } catch (error) {
    if (hasCode(error, 'ERR_AGENT_DOCKER_NOT_FOUND')) return ''
    throw error
  }
  return firstFileOf(Buffer.concat(chunks))
}
