import { parseArgs } from 'node:util'
import { AppError, errorMessage } from '../../core/base/errors.ts'
import { type Ip, parseIp } from '../../core/base/ip.ts'
import { type LogLevel } from '../../core/base/log.ts'
import { type NodeName, parseNodeName } from '../../core/model/ids.ts'
import { type DataPlaneMode, dataPlaneModes } from '../../lb/open.ts'
import { type VipPing, vipPingModes } from '../../lb/refuse.ts'
import { type ForwardZone, parseForwardZone, parseUpstream, type Upstream } from '../../discovery/proxy/config.ts'
import { type DirectRouting } from '../overlay/direct.ts'

/** What the node daemon is started with. */
export interface NetFlags {
  readonly stateDir: string
  readonly nodeName: NodeName
  readonly underlay: Ip
  readonly underlayDevice: string
  /** Whether containers of other nodes are reached without VXLAN. */
  readonly directRouting: DirectRouting
  /** What balances VIPs: `auto` is IPVS where the kernel has it, else nftables. */
  readonly dataPlane: DataPlaneMode
  /** Whether VIP addresses answer ping. */
  readonly vipPing: VipPing
  /** Where counters and metrics are told: on the underlay's address too, or to this machine only. */
  readonly http: HttpReach
  /** `address:port` of each master. */
  readonly masters: readonly string[]
  /** Where the CNI plugin finds the daemon. */
  readonly socket: string
  /** Folder for one configuration list for each network; wholly the daemon's. */
  readonly cniConfDir: string
  /** JSON file that says how names are made and served; absent: defaults. */
  readonly dnsConfig?: string
  /** Resolvers for names of others; absent: the machine's. `none`: such names are refused. */
  readonly upstreams?: readonly Upstream[]
  /** Zones of others that have resolvers of their own. */
  readonly forwardZones: readonly ForwardZone[]
  readonly logLevel: LogLevel
}

/** One of the values of `--http`. */
export type HttpReach = 'underlay' | 'loopback'

const text = { type: 'string' } as const
const options = {
  'state-dir': text,
  'node-name': text,
  underlay: text,
  'underlay-device': text,
  'direct-routing': { type: 'string', default: 'auto' },
  'data-plane': { type: 'string', default: 'auto' },
  'vip-ping': { type: 'string', default: 'answer' },
  http: { type: 'string', default: 'underlay' },
  master: text,
  socket: text,
  'cni-conf-dir': text,
  'dns-config': text,
  upstreams: text,
  'forward-zone': { type: 'string', multiple: true },
  'log-level': { type: 'string', default: 'info' },
} as const

const directRoutingModes: readonly DirectRouting[] = ['auto', 'always', 'never']
const logLevels: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'silent']

/** @throws ERR_NODE_OPTION naming the option that is missing, unknown or wrong */
export function parseNetFlags(argv: readonly string[]): NetFlags {
  const values = read(argv)
  const need = (name: Exclude<keyof typeof options, 'forward-zone'>) => {
    const value = values[name]
    if (value === undefined || value === '') throw new AppError('ERR_NODE_OPTION', `--${name} is missing`)
    return value
  }
  return {
    stateDir: need('state-dir'),
    nodeName: parseOption('node-name', need('node-name'), parseNodeName),
    underlay: parseOption('underlay', need('underlay'), parseIp),
    underlayDevice: need('underlay-device'),
    directRouting: parseOption('direct-routing', need('direct-routing'), parseDirectRouting),
    http: parseOption('http', need('http'), parseHttpReach),
    dataPlane: parseOption('data-plane', need('data-plane'), parseDataPlane),
    vipPing: parseOption('vip-ping', need('vip-ping'), parseVipPing),
    masters: need('master').split(','),
    socket: need('socket'),
    cniConfDir: need('cni-conf-dir'),
    ...(values['dns-config'] === undefined ? {} : { dnsConfig: values['dns-config'] }),
    ...(values.upstreams === undefined
      ? {}
      : { upstreams: parseOption('upstreams', values.upstreams, parseUpstreams) }),
    forwardZones: (values['forward-zone'] ?? []).map((zone) => parseOption('forward-zone', zone, parseForwardZone)),
    logLevel: parseOption('log-level', need('log-level'), parseLogLevel),
  }
}

function read(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options }).values
  } catch (error) {
    throw new AppError('ERR_NODE_OPTION', errorMessage(error), { cause: error })
  }
}

function parseOption<T>(name: string, value: string, parse: (value: string) => T): T {
  try {
    return parse(value)
  } catch (error) {
    throw new AppError('ERR_NODE_OPTION', `--${name}: ${errorMessage(error)}`, { cause: error })
  }
}

/** @throws ERR_NODE_OPTION for anything but auto, always, never */
export function parseDirectRouting(value: string): DirectRouting {
  const mode = directRoutingModes.find((known) => known === value)
  if (mode === undefined)
    throw new AppError('ERR_NODE_OPTION', `"${value}" is none of ${directRoutingModes.join(', ')}`)
  return mode
}

function parseHttpReach(value: string): HttpReach {
  if (value === 'underlay' || value === 'loopback') return value
  throw new AppError('ERR_NODE_OPTION', `"${value}" is none of underlay, loopback`)
}

function parseDataPlane(value: string): DataPlaneMode {
  const mode = dataPlaneModes.find((known) => known === value)
  if (mode === undefined) throw new AppError('ERR_NODE_OPTION', `"${value}" is none of ${dataPlaneModes.join(', ')}`)
  return mode
}

function parseVipPing(value: string): VipPing {
  const mode = vipPingModes.find((known) => known === value)
  if (mode === undefined) throw new AppError('ERR_NODE_OPTION', `"${value}" is none of ${vipPingModes.join(', ')}`)
  return mode
}

function parseUpstreams(value: string): readonly Upstream[] {
  return value === 'none' ? [] : value.split(',').map(parseUpstream)
}

function parseLogLevel(value: string): LogLevel {
  const level = logLevels.find((known) => known === value)
  if (level === undefined) throw new AppError('ERR_NODE_OPTION', `"${value}" is none of ${logLevels.join(', ')}`)
  return level
}
