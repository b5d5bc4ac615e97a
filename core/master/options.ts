import { parseArgs } from 'node:util'
import { AppError, errorMessage } from '../base/errors.ts'
import { type Ip, parseIp } from '../base/ip.ts'
import { type LogLevel } from '../base/log.ts'
import { parseRole } from '../model/role.ts'
import { type NetworkName, type NodeName, parseNetworkName, parseNodeName } from '../model/ids.ts'
import { ipVersionChoices, type Profile, profileNames } from './networks/profile.ts'
import { type DrainTimes } from './tasks/drains.ts'

/** Where HTTP is served: a socket that listens already, inherited, or an address. */
export type HttpListen =
  | { readonly kind: 'fd'; readonly fd: number }
  | { readonly kind: 'address'; readonly host: string; readonly port: number }

/** The command line of a master. */
export interface MasterFlags {
  readonly stateDir: string
  readonly nodeName: NodeName
  readonly underlay: Ip
  /** `address:port` */
  readonly grpcListen: string
  /** An address that is this master's own, a socket that all masters may share, or both. */
  readonly httpListen: readonly HttpListen[]
  /** Absent: SQLite in the state directory. */
  readonly store?: string
  readonly profile: Profile['name']
  /** IP versions of the ranges that are given out by default. */
  readonly ipVersions: (typeof ipVersionChoices)[number]
  /** The first gets the profile's first range. */
  readonly networks: readonly NetworkName[]
  /** What it lacks is as {@link DrainTimes} has it by default. */
  readonly drainTimes: Partial<DrainTimes>
  /** Files with secrets, by the names of their sources. */
  readonly secretsDir?: string
  /** What the services are offered in, and reserve for. */
  readonly serviceRole: string
  readonly logLevel: LogLevel
}

/** What `--help` prints. */
export const masterUsage = `node core/master/main.ts --state-dir DIR --node-name NAME --underlay IP --grpc-listen ADDR:PORT
  [--http-listen ADDR:PORT] [--http-fd N] [--store redis://…|rediss://…|zk://…|sqlite:PATH] [--profile default|dcos] [--ip-versions 4|4,6]
  [--networks name,name] [--secrets-dir DIR] [--service-role ROLE] [--vip-drain-seconds N] [--vip-drain-wait-seconds N] [--log-level LEVEL]`

const logLevels = ['error', 'warn', 'info', 'debug', 'silent'] as const

/** @throws ERR_MASTER_FLAGS for a flag that is missing, unknown or malformed */
export function parseMasterFlags(args: readonly string[]): MasterFlags {
  try {
    const text = { type: 'string' } as const
    const { values } = parseArgs({
      args: [...args],
      options: {
        'state-dir': text,
        'node-name': text,
        underlay: text,
        'grpc-listen': text,
        'http-fd': text,
        'http-listen': text,
        store: text,
        profile: { type: 'string', default: 'default' },
        'ip-versions': { type: 'string', default: '4,6' },
        networks: { type: 'string', default: 'dcos' },
        'secrets-dir': text,
        'service-role': { type: 'string', default: 'slave_public' },
        'vip-drain-seconds': text,
        'vip-drain-wait-seconds': text,
        'log-level': { type: 'string', default: 'info' },
      },
    })
    return {
      stateDir: needed(values['state-dir'], '--state-dir'),
      nodeName: parseNodeName(needed(values['node-name'], '--node-name')),
      underlay: parseIp(needed(values.underlay, '--underlay')),
      grpcListen: needed(values['grpc-listen'], '--grpc-listen'),
      httpListen: httpListen(values['http-fd'], values['http-listen']),
      ...(values.store === undefined ? {} : { store: values.store }),
      ...(values['secrets-dir'] === undefined ? {} : { secretsDir: values['secrets-dir'] }),
      profile: choice(values.profile, profileNames, '--profile'),
      ipVersions: choice(values['ip-versions'], ipVersionChoices, '--ip-versions'),
      networks: values.networks
        .split(',')
        .filter((name) => name !== '')
        .map(parseNetworkName),
      serviceRole: parseRole(values['service-role']),
      drainTimes: drainTimes(values['vip-drain-seconds'], values['vip-drain-wait-seconds']),
      logLevel: choice(values['log-level'], logLevels, '--log-level'),
    }
  } catch (cause) {
    throw new AppError('ERR_MASTER_FLAGS', `${errorMessage(cause)}\n${masterUsage}`, { cause })
  }
}

function drainTimes(hold: string | undefined, wait: string | undefined): Partial<DrainTimes> {
  const holdMs = hold === undefined ? undefined : secondsMs(hold, '--vip-drain-seconds')
  const waitMs = wait === undefined ? undefined : secondsMs(wait, '--vip-drain-wait-seconds')
  return { ...(holdMs === undefined ? {} : { holdMs }), ...(waitMs === undefined ? {} : { waitMs }) }
}

function secondsMs(text: string, flag: string): number {
  if (/^\d{1,4}$/.test(text) && Number(text) <= 3600) return Number(text) * 1000
  throw new AppError('ERR_MASTER_FLAGS', `${flag} is a whole number from 0 to 3600`)
}

function needed(value: string | undefined, flag: string): string {
  if (value === undefined || value === '') throw new AppError('ERR_MASTER_FLAGS', `${flag} is missing`)
  return value
}

function choice<T extends string>(value: string, allowed: readonly T[], flag: string): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found === undefined) throw new AppError('ERR_MASTER_FLAGS', `${flag} is one of ${allowed.join(', ')}`)
  return found
}

/** `address:port` under which other masters, agents and nodes reach our gRPC; `port`: the one that is bound. */
export function grpcAddress({ grpcListen, underlay }: MasterFlags, port: number): string {
  const host = grpcListen.slice(0, grpcListen.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  const own = host === '0.0.0.0' || host === '::' || host === '' ? underlay : host
  return `${own.includes(':') ? `[${own}]` : own}:${port}`
}

function httpListen(fd: string | undefined, address: string | undefined): readonly HttpListen[] {
  if (fd === undefined && address === undefined) {
    throw new AppError('ERR_MASTER_FLAGS', 'give at least one of --http-fd and --http-listen')
  }
  const own = address === undefined ? [] : [addressListen(address)]
  if (fd === undefined) return own
  if (!/^\d+$/.test(fd)) throw new AppError('ERR_MASTER_FLAGS', '--http-fd is a number')
  return [...own, { kind: 'fd', fd: Number(fd) }]
}

function addressListen(address: string): HttpListen {
  const match = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(address)
  if (match?.[1] === undefined) throw new AppError('ERR_MASTER_FLAGS', '--http-listen is ADDR:PORT')
  return { kind: 'address', host: match[1], port: Number(match[2]) }
}
