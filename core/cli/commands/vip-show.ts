import { setTimeout as sleepMs } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { type BackendSum, sumVips, type Traffic, type VipSum } from '../vip-sums.ts'
import { type NodeStatuses, readNodeStatuses } from './node-status.ts'
import { targetApi } from './target.ts'

const path = '/weft/v1/vips'

/** Domain of VIP names. */
export const vipDomain = 'l4lb.thisdcos.directory'

/** Options of `weft vip list` and `show`. */
export interface VipShowOptions {
  /** A row for each node. */
  readonly nodes: boolean
  /** Seconds between two readings, which rates are made of; 0: one reading, no rates. */
  readonly interval: string
}

/** `weft vip list`: VIPs with backends, then names that have addresses and no backends now. */
export async function listVips(globals: GlobalOptions & VipShowOptions): Promise<void> {
  const idle = (await recordsOf(targetApi(globals), path, 'all')).filter(({ state }) => state !== 'in-use')
  const { vips, notes } = await readVips(globals)
  const rows = vips.map((vip) => {
    const list = vip.backends.map(({ address, port, weight }) => `${address}:${port}${weight > 0 ? '' : ' (no new)'}`)
    return [nameOf(vip), vipText(vip), ...trafficWords(vip), list.join(' ')]
  })
  const idleRows = idle.map((vip) => [
    ...[`${vip['name']}.${vip['framework']}.${vipDomain}`, String(vip['addresses'])],
    ...trafficHead.map(() => '-'),
    `(${vip['state']})`,
  ])
  const head = ['NAME', 'ADDRESS', ...trafficHead, 'BACKENDS']
  print(vips, () => [formatTable(head, [...rows, ...idleRows]), ...notes].join('\n'), globals)
}

/** `weft vip show NAME|ADDRESS`: backends with what they get, over all nodes or (`--nodes`) on each. */
export async function showVip(globals: GlobalOptions & VipShowOptions, which: string): Promise<void> {
  const wanted = which.replace(`.${vipDomain}`, '')
  const isMeant = ({ name, address }: VipSum) => [name, name?.split('.')[0], address].includes(wanted)
  const { vips, notes } = await readVips(globals)
  const chosen = vips.filter(isMeant)
  if (chosen.length === 0) {
    throw new AppError('ERR_CLI_NO_VIP', `nothing is behind a VIP "${which}" now: weft vip list shows all`)
  }
  const rows = chosen.flatMap((vip) => vip.backends.flatMap((backend) => backendRows(vip, backend, globals)))
  const head = ['VIP', 'BACKEND', 'AT', 'STATE', 'WEIGHT', ...trafficHead]
  const reasons = chosen.flatMap((vip) => vip.backends.flatMap((backend) => backendNotes(vip, backend)))
  print(chosen, () => [formatTable(head, rows), ...new Set(reasons), ...notes].join('\n'), globals)
}

/** Asks the nodes once, or twice for rates. */
async function readVips(globals: GlobalOptions & VipShowOptions) {
  const seconds = Number(globals.interval)
  if (!(seconds >= 0 && seconds <= 60)) throw new AppError('ERR_CLI_USAGE', '--interval takes 0 to 60 seconds')
  const before = seconds === 0 ? undefined : await readNodeStatuses(globals)
  if (before !== undefined) await sleepMs(seconds * 1000) // the time that a rate is of
  const now = await readNodeStatuses(globals)
  if (now.statuses.length === 0) {
    throw new AppError('ERR_CLI_NO_NODE', ['no node daemon told its counters:', ...nodeNotes(now)].join('\n  '))
  }
  const tasks = await recordsOf(targetApi(globals), '/weft/v1/tasks', 'tasks')
  const ends = tasks.flatMap(({ id, endsByMs }) =>
    endsByMs === undefined ? [] : [[String(id), Number(endsByMs)] as const],
  )
  const vips = sumVips({ now: now.statuses, before: before?.statuses ?? [], endsByMs: new Map(ends) })
  return { vips, notes: nodeNotes(now) }
}

function nodeNotes({ statuses, silent }: NodeStatuses): readonly string[] {
  return [
    ...silent.map(({ node, reason }) => `node ${node} did not tell: ${reason}`),
    ...statuses.flatMap(({ node, peers }) =>
      peers.filter(({ state }) => state === 'down').map((peer) => `node ${node}: ${peer.node} does not answer it`),
    ),
    ...statuses.flatMap(({ node, foreign }) => foreign.map((entry) => `node ${node}: not ours, left alone: ${entry}`)),
  ]
}

function backendRows(vip: VipSum, backend: BackendSum, { nodes }: VipShowOptions): readonly (readonly string[])[] {
  const who = [vipText(vip), `${backend.address}:${backend.port}`]
  const all = [...who, backend.node ?? '-', backend.state, String(backend.weight), ...trafficWords(backend)]
  if (!nodes) return [all]
  const each = Object.entries(backend.nodes).map(([node, one]) => [
    ...['', '', `from ${node}`, one.state, String(one.weight)],
    ...trafficWords(one),
  ])
  return [all, ...each]
}

function backendNotes(vip: VipSum, backend: BackendSum): readonly string[] {
  const who = `${vipText(vip)} to ${backend.address}:${backend.port}`
  const { endsByMs, bypassedBy, nodes } = backend
  const reason = Object.values(nodes).find(({ state }) => state === backend.state && state !== 'bypassed')?.reason
  const end = endsByMs === undefined ? '' : `, at the latest at ${new Date(endsByMs).toISOString()}`
  return [
    ...(reason === undefined ? [] : [`${who}: nothing new, ${reason}${end}`]),
    ...bypassedBy.map((one) => `${who}: nothing new from ${one.node}: ${one.reason}`),
  ]
}

const trafficHead = ['ACTIVE', 'INACTIVE', 'TOTAL', 'CONN/S', 'PACKETS', 'PACKETS/S', 'BYTES', 'BYTES/S'] as const

function trafficWords(traffic: Traffic): readonly string[] {
  const { active, inactive, total, connectionsPerSecond, packets, packetsPerSecond, bytes, bytesPerSecond } = traffic
  const rate = (value: number | undefined) => (value === undefined ? '-' : value.toFixed(value < 10 ? 1 : 0))
  const [cps, pps, bps] = [connectionsPerSecond, packetsPerSecond, bytesPerSecond].map(rate)
  return [active, inactive, total, cps, packets, pps, bytes, bps].map(String)
}

function nameOf({ name }: VipSum): string {
  return name === undefined ? '-' : `${name}.${vipDomain}`
}

function vipText({ protocol, address, port }: VipSum): string {
  return `${protocol} ${address.includes(':') ? `[${address}]` : address}:${port}`
}
