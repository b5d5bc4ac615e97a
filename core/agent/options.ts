import { parseArgs } from 'node:util'
import { AppError, errorMessage } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type LogLevel } from '../base/log.ts'
import { type NodeName, parseNodeName } from '../model/ids.ts'
import { normalizePorts, type PortRange, type Resources } from '../model/resources.ts'

/** What an agent is started with. */
export interface AgentFlags {
  readonly stateDir: string
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** `address:port` of each master. */
  readonly masters: readonly string[]
  readonly resources: Resources
  readonly attributes: Readonly<Record<string, string>>
  readonly cniBinDirs: readonly string[]
  readonly cniConfDir: string
  /** Name servers of tasks on the host's network; none: the host's resolv.conf. */
  readonly dns: readonly Ip[]
  /** More directories that containers must not see. */
  readonly hidden: readonly string[]
  readonly logLevel: LogLevel
}

const logLevels: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'silent']

/** @throws ERR_AGENT_OPTION naming the option and what it takes */
export function parseAgentFlags(argv: readonly string[]): AgentFlags {
  const values = readFlags(argv)
  const need = (name: keyof typeof values) => {
    const value = values[name]
    if (typeof value === 'string' && value !== '') return value
    throw new AppError('ERR_AGENT_OPTION', `--${name} is missing`)
  }
  return {
    stateDir: absolute('state-dir', need('state-dir')),
    nodeName: parseOption('node-name', need('node-name'), parseNodeName),
    underlay: parseOption('underlay', need('underlay'), parseIp),
    masters: need('master').split(',').map(parseMaster),
    resources: parseOption('resources', need('resources'), parseResources),
    attributes: parseOption('attributes', values.attributes ?? '', parseAttributes),
    cniBinDirs: need('cni-bin-dir').split(':'),
    cniConfDir: need('cni-conf-dir'),
    dns: (values.dns ?? '').split(',').flatMap((text) => (text === '' ? [] : [parseOption('dns', text, parseIp)])),
    hidden: (values.hide ?? []).map((path) => absolute('hide', path)),
    logLevel: parseLogLevel(values['log-level'] ?? 'info'),
  }
}

/**
 * `cpus:2;mem:1024;disk:4096;ports:[31000-31999,32000-32010]`; mem and disk in MB. Source: mesos, --resources.
 * @throws ERR_AGENT_OPTION
 */
export function parseResources(text: string): Resources {
  const parts = new Map(pairs(text))
  for (const key of parts.keys()) {
    if (!['cpus', 'mem', 'disk', 'ports'].includes(key)) throw new AppError('ERR_AGENT_OPTION', `no resource "${key}"`)
  }
  return {
    cpuMillis: Math.round(amount('cpus', parts.get('cpus')) * 1000),
    memMb: Math.floor(amount('mem', parts.get('mem'))),
    diskMb: Math.floor(amount('disk', parts.get('disk'))),
    ports: normalizePorts(parsePorts(parts.get('ports') ?? '[]')),
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
      attributes: text,
      'cni-bin-dir': text,
      'cni-conf-dir': text,
      dns: text,
      hide: { type: 'string', multiple: true },
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

function parseMaster(text: string): string {
  if (/^.+:[1-9]\d{0,4}$/.test(text)) return text
  throw new AppError('ERR_AGENT_OPTION', `--master "${text}" must be HOST:PORT`)
}

function parseLogLevel(text: string): LogLevel {
  const level = logLevels.find((each) => each === text)
  if (level !== undefined) return level
  throw new AppError('ERR_AGENT_OPTION', `--log-level must be one of ${logLevels.join(', ')}`)
}

function pairs(text: string): [string, string][] {
  return text.split(';').flatMap((pair) => {
    if (pair.trim() === '') return []
    const colon = pair.indexOf(':')
    if (colon < 1) throw new AppError('ERR_AGENT_OPTION', `"${pair}" is not key:value`)
    return [[pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()]]
  })
}

function amount(name: string, text = '0'): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  throw new AppError('ERR_AGENT_OPTION', `${name} "${text}" is not a number`)
}

function parsePorts(text: string): PortRange[] {
  const inner = /^\[(.*)\]$/.exec(text)?.[1]
  if (inner === undefined) throw new AppError('ERR_AGENT_OPTION', `ports "${text}" must be [begin-end,…]`)
  return inner.split(',').flatMap((range) => {
    if (range.trim() === '') return []
    const [, first, last] = /^\s*(\d{1,5})-(\d{1,5})\s*$/.exec(range) ?? []
    const [begin, end] = [Number(first), Number(last)]
    if (begin >= 1 && begin <= end && end <= 65535) return [{ begin, end }]
    throw new AppError('ERR_AGENT_OPTION', `port range "${range}" must be begin-end within 1 to 65535`)
  })
}
