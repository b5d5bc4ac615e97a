import { AppError } from '../../base/errors.ts'
import { type CommandInfo } from '../../model/task.ts'

/** How an image wants to be run. Source: opencontainers/image-spec, config.md, object `config`. */
export interface ImageConfig {
  readonly entrypoint: readonly string[]
  readonly cmd: readonly string[]
  /** `NAME=value`. */
  readonly env: readonly string[]
  /** Empty: none. */
  readonly workingDir: string
  /** `user`, `user:group`, names or numbers; empty: root. */
  readonly user: string
}

/** Of a directory or tarball: nothing is said. */
export const noConfig: ImageConfig = { entrypoint: [], cmd: [], env: [], workingDir: '', user: '' }

/** Reads an image's configuration. What is absent or of another type counts as not said. */
export function parseImageConfig(value: unknown): ImageConfig {
  const config = field(value, 'config')
  return {
    entrypoint: texts(field(config, 'Entrypoint')),
    cmd: texts(field(config, 'Cmd')),
    env: texts(field(config, 'Env')),
    workingDir: text(field(config, 'WorkingDir')),
    user: text(field(config, 'User')),
  }
}

/**
 * The program of a task in an image: a command of the task's own goes before the image's; arguments alone go to the
 * image's entrypoint in place of its Cmd. Source: mesos, docs/isolators/docker-runtime.md.
 * @throws ERR_AGENT_COMMAND when neither says one
 */
export function imageArgv({ shell, value, arguments: argv }: CommandInfo, image: ImageConfig): readonly string[] {
  if (shell) return ['/bin/sh', '-c', value]
  if (value !== '') return [value, ...argv.slice(1)]
  const whole = [...image.entrypoint, ...(argv.length > 0 ? argv : image.cmd)]
  if (whole.length > 0) return whole
  const advice = 'the image has neither Entrypoint nor Cmd: give cmd or args'
  throw new AppError('ERR_AGENT_COMMAND', advice)
}

/** The image's variables. */
export function imageEnvironment({ env }: ImageConfig): Readonly<Record<string, string>> {
  return Object.fromEntries(
    env.map((entry) => {
      const at = entry.indexOf('=')
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
    }),
  )
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
