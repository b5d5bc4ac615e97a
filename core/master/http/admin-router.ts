import { type FastifyPluginAsync } from 'fastify'
import { type NodeName } from '../../model/ids.ts'
import { lifeOf } from '../agents/decide-life.ts'
import { type MasterContext } from '../context.ts'
import { masterRole } from '../standby/role.ts'

/** Below which DC/OS's Admin Router has the master and Marathon. `/service/metronome` and `/agent/ID` are routes of their own. */
const prefixes = ['/mesos', '/marathon', '/service/marathon'] as const

/** The path as the service behind Admin Router sees it. Source: dcos-adminrouter, includes/server/open/master.conf. */
export function withoutRouterPrefix(url: string): string {
  const prefix = prefixes.find((each) => url.startsWith(`${each}/`))
  return prefix === undefined ? url : url.slice(prefix.length)
}

/** 0 healthy, 1 unhealthy, 3 unknown. Source: dcos-diagnostics, api/health.go. */
type Health = 0 | 1 | 3

/** `/system/health/v1`: nodes, and the parts of Weft there, as DC/OS tells them. */
export function systemHealthRoutes(context: MasterContext): FastifyPluginAsync {
  const units = () => [
    unit(
      'weft-net',
      'Node daemon',
      [...context.registrar.state.nodes.keys()].map((name) => daemonHealth(context, name)),
    ),
    unit(
      'weft-agent',
      'Agent',
      [...context.agents.keys()].map((id) => agentHealth(context, id)),
    ),
    unit('weft-master', 'Master', [0]),
  ]
  const nodes = () =>
    [...context.registrar.state.nodes.values()].map(({ name, underlay, agentId, masterPlace }) => {
      const isMaster = masterRole({ name, ...(masterPlace && { masterPlace }) }, context.self) !== undefined
      const health = worst([daemonHealth(context, name), agentId === undefined ? 0 : agentHealth(context, agentId)])
      return { host_ip: underlay, health, role: isMaster ? 'master' : 'agent' }
    })
  return async (app) => {
    for (const path of ['/system/health/v1', '/system/health/v1/units']) app.get(path, async () => ({ units: units() }))
    app.get('/system/health/v1/nodes', async () => ({ nodes: nodes() }))
  }
}

function unit(id: string, name: string, healths: readonly Health[]) {
  return { id, name, health: worst(healths), description: name }
}

function worst(healths: readonly Health[]): Health {
  if (healths.includes(1)) return 1
  return healths.includes(3) ? 3 : 0
}

function daemonHealth({ progress }: MasterContext, name: NodeName): Health {
  const { connected, problem } = progress.of(name)
  if (!connected) return 3
  return problem === undefined ? 0 : 1
}

/** One that an operator has emptied may be away. */
function agentHealth({ agents }: MasterContext, id: Parameters<MasterContext['agents']['get']>[0]): Health {
  const entry = agents.get(id)
  if (entry === undefined || entry.state.kind === 'unreachable') return 1
  return entry.link === undefined && lifeOf(entry.record) !== 'drained' ? 3 : 0
}
