import { AppError } from '../../base/errors.ts'

/** Where an image comes from, as skopeo names it. */
export interface ImageSource {
  /** `docker://busybox:1.36`, `oci:/srv/layout:v1`, … Source: containers-transports(5). */
  readonly name: string
  /** A registry's name may stand for another image later; a file is looked at each time. */
  readonly kind: 'registry' | 'file'
  /** Host and port of the registry. */
  readonly registry?: string
}

const fileTransports = ['oci', 'oci-archive', 'docker-archive', 'dir'] as const

/** Characters of any name: nothing that a command line takes for an option, no blanks. */
const namePattern = /^[\w][\w.:@/+-]*$/

/**
 * Reads a reference as {@link Image} has it; a bare name means Docker's registry, without a tag `latest`.
 * @throws ERR_AGENT_IMAGE_NAME
 */
export function parseImageSource(reference: string): ImageSource {
  const transport = fileTransports.find((each) => reference.startsWith(`${each}:`))
  if (transport !== undefined) {
    const path = reference.slice(transport.length + 1)
    if (path.startsWith('/') && !path.includes('\0')) return { name: reference, kind: 'file' }
    throw invalid(reference, 'the path must be absolute')
  }
  const name = reference.startsWith('docker://') ? reference.slice('docker://'.length) : reference
  if (!namePattern.test(name)) {
    throw invalid(reference, 'give NAME:TAG, docker://REGISTRY/NAME:TAG, oci:/DIRECTORY:TAG or docker-archive:/FILE')
  }
  const whole = normalized(name)
  return { name: `docker://${whole}`, kind: 'registry', registry: whole.slice(0, whole.indexOf('/')) }
}

/** The same image by its digest: what was looked at is what is copied. */
export function pinned({ name, kind }: ImageSource, digest: string): string {
  if (kind === 'file') return name
  const slash = name.lastIndexOf('/')
  const last = name.slice(slash + 1)
  return `${name.slice(0, slash + 1)}${last.split(/[:@]/)[0]}@${digest}`
}

/** The first part is a registry when it looks like a host. Source: distribution/reference, normalize.go. */
function normalized(name: string): string {
  const [first = '', ...rest] = name.split('/')
  const isHost = rest.length > 0 && (first.includes('.') || first.includes(':') || first === 'localhost')
  const whole = isHost ? name : rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`
  return /[:@]/.test(whole.slice(whole.lastIndexOf('/') + 1)) ? whole : `${whole}:latest`
}

function invalid(reference: string, problem: string): AppError {
  return new AppError('ERR_AGENT_IMAGE_NAME', `"${reference}" names no image: ${problem}`)
}
