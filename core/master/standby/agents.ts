import { type ServerDuplexStream } from '@grpc/grpc-js'
import { encodeAgentCommand } from '../../api/convert-agent.ts'
import { type AgentCommand, type AgentMessage } from '../../api/gen/cluster.ts'
import { standbyCode } from '../../api/session.ts'
import { type Leaders } from './leaders.ts'

/** Shorter than an agent waits for its first answer: `firstAnswerMs`. */
const holdMs = 8_000

/**
 * Sends agents to the leader. While nobody serves they are kept, so that all of them learn at once who leads next, and
 * nobody asks again and again meanwhile.
 */
export function sendAgentsOn(leaders: Leaders): (call: ServerDuplexStream<AgentMessage, AgentCommand>) => void {
  return (call) => {
    const gone = new AbortController()
    call.resume() // its registration is for the leader
    for (const event of ['end', 'close', 'cancelled', 'error']) call.on(event, () => gone.abort())
    leaders.wait({ timeoutMs: holdMs, signal: gone.signal }).then(
      (leader) => {
        const reason = leader === undefined ? 'no master leads now: try again' : `${leader.nodeName} leads`
        const to = leader === undefined ? {} : { leader: leader.grpc }
        call.write(encodeAgentCommand({ kind: 'refused', code: standbyCode, reason, ...to, term: 0 }))
        call.end()
      },
      () => call.end(), // AbortError: it left
    )
  }
}
