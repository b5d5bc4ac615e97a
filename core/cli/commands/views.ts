import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

/** `weft task list`. */
export async function listTasks(globals: GlobalOptions): Promise<void> {
  const tasks = await recordsOf(targetApi(globals), '/weft/v1/tasks', 'tasks')
  const row = (task: Row) => [...texts(task, ['id', 'state', 'health', 'node']), addressesOf(task)]
  print(tasks, () => formatTable(['TASK', 'STATE', 'HEALTH', 'NODE', 'ADDRESSES'], tasks.map(row)), globals)
}

/** `weft node list`. */
export async function listNodes(globals: GlobalOptions): Promise<void> {
  const nodes = await recordsOf(targetApi(globals), '/weft/v1/nodes', 'nodes')
  const row = (node: Row) => {
    const daemon = isRecord(node['daemon']) ? node['daemon'] : {}
    const subnets = Array.isArray(node['subnets']) ? node['subnets'].filter(isRecord).map(formatShare) : []
    const life = node['agentLife'] === undefined || node['agentLife'] === 'active' ? undefined : node['agentLife']
    const agent =
      life ?? node['agentState'] ?? (node['master'] === undefined ? '-' : `master (${String(node['master'])})`)
    return [
      ...texts(node, ['name', 'underlay']),
      String(agent),
      ...texts(daemon, ['appliedVersion']),
      subnets.join(' '),
    ]
  }
  const table = () => formatTable(['NODE', 'UNDERLAY', 'AGENT', 'VERSION', 'SUBNETS'], nodes.map(row))
  const warnings = () =>
    nodes.flatMap(({ name, daemon }) => (isRecord(daemon) ? formatWarnings(name, daemon['warnings']) : []))
  print(nodes, () => [table(), ...warnings()].join('\n'), globals)
}

/** `weft converge [VERSION]`: exits with 1 when it did not within the time. */
export async function converge(globals: GlobalOptions & { timeout: string }, version?: string): Promise<void> {
  const seconds = Number(globals.timeout)
  if (!(seconds >= 0 && seconds <= 600)) throw new AppError('ERR_CLI_USAGE', '--timeout takes 0 to 600 seconds')
  if (version !== undefined && !/^\d{1,15}$/.test(version)) {
    throw new AppError('ERR_CLI_USAGE', `"${version}" is not a version: a whole number, or nothing for the current one`)
  }
  const query = new URLSearchParams({
    timeoutMs: String(seconds * 1000),
    ...(version === undefined ? {} : { version }),
  })
  const answer = await targetApi(globals).get(`/weft/v1/converge?${query}`)
  print(answer, () => formatConvergence(answer), globals)
  if (!isRecord(answer) || answer['converged'] !== true) process.exitCode = 1
}

function formatConvergence(answer: unknown): string {
  if (!isRecord(answer)) return 'no answer'
  const warned = Array.isArray(answer['warned']) ? answer['warned'].filter(isRecord) : []
  const warnings = warned.flatMap((node) => formatWarnings(node['node'], node['warnings']))
  if (answer['converged'] === true)
    return [`version ${answer['version']} has reached every node`, ...warnings].join('\n')
  const missing = Array.isArray(answer['missing']) ? answer['missing'].filter(isRecord) : []
  const lines = missing.map((node) => {
    const state = node['connected'] === true ? 'connected' : 'not connected'
    return `  ${node['node']}: has ${node['appliedVersion']}, ${state}${node['problem'] ? `: ${node['problem']}` : ''}`
  })
  return [`version ${answer['version']} has not reached every node`, ...lines, ...warnings].join('\n')
}

/** One line for each warning that a node has told of its ways to others. */
function formatWarnings(node: unknown, warnings: unknown): readonly string[] {
  return Array.isArray(warnings) ? warnings.map((warning) => `warning of ${node}: ${warning}`) : []
}

function texts(row: Row, keys: readonly string[]): readonly string[] {
  return keys.map((key) => String(row[key] ?? '-'))
}

function formatShare(share: Row): string {
  return `${share['network']}=${String(share['subnets'])}`
}

function addressesOf(task: Row): string {
  const networks = Array.isArray(task['networks']) ? task['networks'].filter(isRecord) : []
  return networks.map((network) => String(network['addresses'])).join(' ') || '-'
}
