import { parseArgs } from 'node:util'
import { AppError, errorMessage } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type LogLevel } from '../base/log.ts'
import { type NodeName, parseNodeName } from '../model/ids.ts'
import { parseRole } from '../model/role.ts'
import { type ProvisionFlags } from './containerizer/open-provisions.ts'
import { type HostVolumeRoot } from './containerizer/volumes.ts'
import { defaultPatience, type ExecutorPatience } from './executors/custom-env.ts'
import { type OwnResources, pairs, parseOwnResources } from './resource-flags.ts'

/** What an agent is started with. */
export interface AgentFlags extends OwnResources, ProvisionFlags {
  readonly stateDir: string
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** `address:port` of each master. */
  readonly masters: readonly string[]
  readonly attributes: Readonly<Record<string, string>>
  readonly cniBinDirs: readonly string[]
  readonly cniConfDir: string
  /** Name servers of tasks on the host's network; none: the host's resolv.conf. */
  readonly dns: readonly Ip[]
  /** More directories that containers must not see. */
  readonly hidden: readonly string[]
  /** Of the HTTP interface, at the underlay address; 0: any. */
  readonly httpPort: number
  /** Socket of the Docker Engine; nothing need be there until a task asks for it. */
  readonly dockerSocket: string
  /** How often tasks' disk usage is compared with their limit, ms; 0: never, there is no limit then. */
  readonly diskWatchMs: number
  /** How long custom executors may take to subscribe. */
  readonly patience: ExecutorPatience
  readonly logLevel: LogLevel
}

/** Source: mesos, the default port of an agent. */
const defaultHttpPort = '5051'

const defaultDockerHost = 'unix:///var/run/docker.sock'

const logLevels: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'silent']

/** @throws ERR_AGENT_OPTION naming the option and what it takes */
export function parseAgentFlags(argv: readonly string[]): AgentFlags {
  const values = readFlags(argv)
  const need = (name: keyof typeof values) => {
    const value = values[name]
    if (typeof value === 'string' && value !== '') return value
    throw new AppError('ERR_AGENT_OPTION', `--${name} is missing`)
  }
  const defaultRole = parseOption('default-role', values['default-role'] ?? '*', parseRole)
  return {
    stateDir: absolute('state-dir', need('state-dir')),
    nodeName: parseOption('node-name', need('node-name'), parseNodeName),
    underlay: parseOption('underlay', need('underlay'), parseIp),
    masters: need('master').split(',').map(parseMaster),
    ...parseOption('resources', need('resources'), (text) => parseOwnResources(text, defaultRole)),
    attributes: parseOption('attributes', values.attributes ?? '', parseAttributes),
    cniBinDirs: need('cni-bin-dir').split(':'),
    cniConfDir: need('cni-conf-dir'),
    dns: (values.dns ?? '').split(',').flatMap((text) => (text === '' ? [] : [parseOption('dns', text, parseIp)])),
    hidden: (values.hide ?? []).map((path) => absolute('hide', path)),
    insecureRegistries: (values['insecure-registry'] ?? []).map(parseRegistry),
    hostVolumes: (values['host-volume'] ?? []).map(parseHostVolume),
    imageDiskMb: parseOption('image-disk-mb', values['image-disk-mb'] ?? '20480', parseMegabytes),
    httpPort: parseOption('http-port', values['http-port'] ?? defaultHttpPort, parsePort),
    dockerSocket: parseDockerHost(values['docker-host'] ?? defaultDockerHost),
    diskWatchMs: parseOption('disk-watch-interval', values['disk-watch-interval'] ?? '15', parseInterval) * 1000,
    patience: parsePatience(values),
    logLevel: parseLogLevel(values['log-level'] ?? 'info'),
  }
}

/** `key:value;key:value`. Source: mesos, --attributes. @throws ERR_AGENT_OPTION */
export function parseAttributes(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(pairs(text))
}

function readFlags(argv: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    const options = {
      'state-dir': text,
      'node-name': text,
      underlay: text,
      master: text,
      resources: text,
      'default-role': text,
      attributes: text,
      'cni-bin-dir': text,
      'cni-conf-dir': text,
      dns: text,
      hide: { type: 'string', multiple: true },
      'insecure-registry': { type: 'string', multiple: true },
      'host-volume': { type: 'string', multiple: true },
      'image-disk-mb': text,
      'http-port': text,
      'docker-host': text,
      'disk-watch-interval': text,
      'executor-registration-timeout': text,
      'executor-reregistration-timeout': text,
      'log-level': text,
    } as const
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new AppError('ERR_AGENT_OPTION', errorMessage(error), { cause: error })
  }
}

function parseOption<T>(name: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text)
  } catch (error) {
    throw new AppError('ERR_AGENT_OPTION', `--${name}: ${errorMessage(error)}`, { cause: error })
  }
}

function absolute(name: string, path: string): string {
  if (path.startsWith('/')) return path.length > 1 ? path.replace(/\/+$/, '') : path
  throw new AppError('ERR_AGENT_OPTION', `--${name} "${path}" must be an absolute path`)
}

function parsePatience(values: ReturnType<typeof readFlags>): ExecutorPatience {
  const read = (name: 'executor-registration-timeout' | 'executor-reregistration-timeout', otherwiseMs: number) =>
    parseOption(name, values[name] ?? `${otherwiseMs / 1000}`, parseSeconds) * 1000
  return {
    registrationMs: read('executor-registration-timeout', defaultPatience.registrationMs),
    reregistrationMs: read('executor-reregistration-timeout', defaultPatience.reregistrationMs),
  }
}

/** Seconds; 0 is off. */
function parseInterval(text: string): number {
  return text === '0' ? 0 : parseSeconds(text)
}

function parseSeconds(text: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) > 0) return Number(text)
  throw new AppError('ERR_AGENT_OPTION', `"${text}" must be seconds, 1 to 9999`)
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text)
  throw new AppError('ERR_AGENT_OPTION', `"${text}" must be 0 to 65535`)
}

/** `PATH` or `PATH:ro`. */
function parseHostVolume(text: string): HostVolumeRoot {
  const readOnly = text.endsWith(':ro')
  return { path: absolute('host-volume', readOnly ? text.slice(0, -3) : text), mode: readOnly ? 'ro' : 'rw' }
}

/** `unix:///PATH` or `/PATH`: an Engine elsewhere could not share network namespaces and files with this agent. */
function parseDockerHost(text: string): string {
  const path = text.startsWith('unix://') ? text.slice('unix://'.length) : text
  if (path.startsWith('/')) return path
  throw new AppError('ERR_AGENT_OPTION', `--docker-host "${text}" must be a socket of this machine: unix:///PATH`)
}

function parseRegistry(text: string): string {
  if (/^[\w.-]+(:\d{1,5})?$/.test(text)) return text
  throw new AppError('ERR_AGENT_OPTION', `--insecure-registry "${text}" must be HOST or HOST:PORT`)
}

function parseMegabytes(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new AppError('ERR_AGENT_OPTION', `"${text}" must be a whole number of megabytes`)
}

function parseMaster(text: string): string {
  if (/^.+:[1-9]\d{0,4}$/.test(text)) return text
  throw new AppError('ERR_AGENT_OPTION', `--master "${text}" must be HOST:PORT`)
}

function parseLogLevel(text: string): LogLevel {
  const level = logLevels.find((each) => each === text)
  if (level !== undefined) return level
  throw new AppError('ERR_AGENT_OPTION', `--log-level must be one of ${logLevels.join(', ')}`)
}
