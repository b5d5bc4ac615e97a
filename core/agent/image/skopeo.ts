import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AppError, errorMessage } from '../../base/errors.ts'
import { runProgram } from '../run-program.ts'
import { type ImageConfig, parseImageConfig } from './config.ts'
import { type ImageSource, pinned } from './reference.ts'

/** What a pull is told while it goes on. */
export interface PullProgress {
  readonly signal: AbortSignal
  /** How far it is, in words. */
  readonly onProgress: (message: string) => void
}

/** Takes images from registries, layouts and archives. */
export interface ImagePuller {
  /** Digest (`sha256:…`) of what the name stands for now. @throws ERR_AGENT_IMAGE */
  digestOf(source: ImageSource, options: { readonly signal: AbortSignal }): Promise<string>
  /** Copies an image into an empty `work` folder and unpacks it at `rootfs`. @throws ERR_AGENT_IMAGE */
  pull(
    source: ImageSource,
    at: { readonly digest: string; readonly work: string; readonly rootfs: string },
    progress: PullProgress,
  ): Promise<ImageConfig>
}

const tag = 'image'

/**
 * A puller by skopeo (copies to an OCI layout, checks each digest) and umoci (unpacks with whiteouts, within the folder).
 * `insecure`: registries that are asked by plain HTTP, or without checking their certificates.
 */
export function openPuller(options: { readonly insecure: readonly string[] }): ImagePuller {
  const tls = (source: ImageSource, name: string) =>
    source.registry !== undefined && options.insecure.includes(source.registry) ? [`--${name}=false`] : []
  const digestOf: ImagePuller['digestOf'] = async (source, { signal }) => {
    const args = ['inspect', '--raw', ...tls(source, 'tls-verify'), source.name]
    const call = { program: 'skopeo', args, install: 'skopeo' }
    const manifest = await runProgram(call, { signal }).catch((error: unknown) => {
      throw explain(source, error, signal)
    })
    return `sha256:${createHash('sha256').update(manifest).digest('hex')}`
  }
  const pull: ImagePuller['pull'] = async (source, { digest, work, rootfs }, { signal, onProgress }) => {
    const layout = join(work, 'layout')
    const name = pinned(source, digest)
    const args = ['copy', ...tls(source, 'src-tls-verify'), name, `oci:${layout}:${tag}`]
    try {
      onProgress(`pulling image ${source.name}`)
      let layers = 0
      const onLine = (line: string) => {
        if (line.startsWith('Copying blob')) onProgress(`pulling image ${source.name}: layer ${++layers}`)
      }
      await runProgram(
        { program: 'skopeo', args: ['--insecure-policy', ...args], install: 'skopeo', onLine },
        { signal },
      )
      onProgress(`unpacking image ${source.name}`)
      await unpack(layout, rootfs, signal)
      return readConfig(layout)
    } catch (error) {
      throw explain(source, error, signal)
    }
  }
  return { digestOf, pull }
}

/** `--rootless` where the agent is no real root: it keeps owners in attributes. */
async function unpack(layout: string, rootfs: string, signal: AbortSignal): Promise<void> {
  const rootless =
    readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/)[2] === '4294967295' ? [] : ['--rootless']
  const args = ['raw', 'unpack', ...rootless, '--image', `${layout}:${tag}`, rootfs]
  await runProgram({ program: 'umoci', args, install: 'umoci', env: { HOME: '/' } }, { signal })
}

/** Index → manifest → configuration. Source: opencontainers/image-spec, image-layout.md. */
function readConfig(layout: string): ImageConfig {
  const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'))
  const blob = (digest: string) => read(join(layout, 'blobs', ...digest.split(':')))
  const index = read(join(layout, 'index.json'))
  const manifest = blob(
    digestIn(Array.isArray(field(index, 'manifests')) ? firstOf(field(index, 'manifests')) : undefined),
  )
  return parseImageConfig(blob(digestIn(field(manifest, 'config'))))
}

function digestIn(descriptor: unknown): string {
  const digest = field(descriptor, 'digest')
  if (typeof digest === 'string' && /^[a-z0-9]+:[a-f0-9]+$/.test(digest)) return digest
  throw new Error('a descriptor without a digest')
}

function firstOf(value: unknown): unknown {
  return Array.isArray(value) ? value[0] : undefined
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, name)?.value : undefined
}

function explain({ name, registry }: ImageSource, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return error
  const message = errorMessage(error)
  const why = `image ${name}: ${message}${advice(message, registry)}`
  return new AppError('ERR_AGENT_IMAGE', why, { cause: error })
}

function advice(message: string, registry: string | undefined): string {
  if (/manifest unknown|no descriptor found|no such file|not found|requested access .* denied/i.test(message)) {
    return '; there is no such image: check its name and tag'
  }
  if (registry === undefined) return ''
  if (/server gave HTTP response to HTTPS client|x509|certificate/i.test(message)) {
    return `; if ${registry} may be trusted, start the agent with --insecure-registry ${registry}`
  }
  return /pinging container registry|dial tcp|i\/o timeout/i.test(message)
    ? `; the registry ${registry} can't be reached from this node`
    : ''
}
