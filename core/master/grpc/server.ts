import { Server, ServerCredentials } from '@grpc/grpc-js'
import { channelOptions } from '../../api/channel.ts'
import { type AgentsServer, AgentsService, type NodesServer, NodesService } from '../../api/gen/cluster.ts'
import { AppError } from '../../base/errors.ts'
import { type MasterContext } from '../context.ts'
import { serveAgent } from './agents.ts'
import { openNodeStreams } from './nodes.ts'

/** The master's gRPC port. */
export interface GrpcServer {
  readonly port: number
  /** Ends every stream at once: agents and nodes reconnect, to whichever master leads. */
  close(): void
}

/** Serves agents and nodes on `address:port` (port 0: any free one). @throws ERR_MASTER_LISTEN */
export async function openGrpcServer(context: MasterContext, listen: string): Promise<GrpcServer> {
  const server = new Server(channelOptions)
  const agents: AgentsServer = { session: (call) => serveAgent(context, call) }
  const nodes: NodesServer = { subscribe: openNodeStreams(context) }
  server.addService(AgentsService, agents)
  server.addService(NodesService, nodes)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (cause, bound) => {
      if (cause === null) resolve(bound)
      else reject(new AppError('ERR_MASTER_LISTEN', `cannot listen for gRPC on ${listen}: ${cause.message}`, { cause }))
    })
  })
  return { port, close: () => server.forceShutdown() }
}
