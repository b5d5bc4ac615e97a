import { Server, ServerCredentials } from '@grpc/grpc-js'
import { channelOptions } from '../../api/channel.ts'
import { type AgentsServer, AgentsService, type NodesServer, NodesService } from '../../api/gen/cluster.ts'
import { AppError } from '../../base/errors.ts'
import { type MasterContext } from '../context.ts'
import { serveAgent } from './agents.ts'
import { openLeaderOffice } from './leader-office.ts'
import { openNodeStreams } from './nodes.ts'

/** The master's gRPC port. */
export interface GrpcServer {
  readonly port: number
  /** New streams are served by these from now on. */
  serve(services: GrpcServices): void
  /** Ends every stream at once: agents and nodes reconnect, to whichever master leads. */
  close(): void
}

/** Who serves the streams of agents and nodes: a standby, then a leader. */
export interface GrpcServices {
  readonly session: AgentsServer['session']
  readonly subscribe: NodesServer['subscribe']
}

/** How a leader serves. */
export function leaderServices(context: MasterContext): GrpcServices {
  const nodes = openNodeStreams(openLeaderOffice(context))
  return { session: (call) => serveAgent(context, call), subscribe: nodes.serve }
}

/** Serves agents and nodes on `address:port` (port 0: any free one). @throws ERR_MASTER_LISTEN */
export async function openGrpcServer(first: GrpcServices, listen: string): Promise<GrpcServer> {
  let services = first
  const server = new Server(channelOptions)
  const agents: AgentsServer = { session: (call) => services.session(call) }
  const nodes: NodesServer = { subscribe: (call) => services.subscribe(call) }
  server.addService(AgentsService, agents)
  server.addService(NodesService, nodes)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (cause, bound) => {
      if (cause === null) resolve(bound)
      else reject(new AppError('ERR_MASTER_LISTEN', `cannot listen for gRPC on ${listen}: ${cause.message}`, { cause }))
    })
  })
  const serve = (next: GrpcServices) => {
    services = next
  }
  return { port, serve, close: () => server.forceShutdown() }
}
