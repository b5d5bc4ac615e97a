import { type IncomingMessage, type ServerResponse } from 'node:http'
import { standbyCode } from '../../api/session.ts'
import { type Clock } from '../../base/clock.ts'
import { AppError } from '../../base/errors.ts'
import { type Logger } from '../../base/log.ts'
import { type Store } from '../../store/store.ts'
import { openNodeStreams } from '../grpc/nodes.ts'
import { type GrpcServices } from '../grpc/server.ts'
import { type Socket } from '../http/server.ts'
import { sendAgentsOn } from './agents.ts'
import { type Candidate } from './candidate.ts'
import { standbyHttp } from './http.ts'
import { openLeaders } from './leaders.ts'
import { openStandbyOffice } from './office.ts'
import { openRelay } from './relay.ts'

/** What a standby is made of. */
export interface StandbyOptions {
  readonly store: Store
  readonly self: Candidate
  readonly clock: Clock
  readonly log: Logger
  /** Answers as the leader that we have become: requests that waited for it. */
  readonly answerOurselves: (request: IncomingMessage, response: ServerResponse, socket: Socket) => void
}

/** A master that waits for its turn. */
export interface Standby {
  readonly services: GrpcServices
  readonly answer: (request: IncomingMessage, response: ServerResponse, socket: Socket) => void
  /** We were elected: no leader is followed any more; whoever asks waits until `lead`. */
  elected(): void
  /** We serve as the leader: all who waited or were served here are sent there. */
  lead(): void
  close(): void
}

/** Follows the leader and serves what it knows, until this master is elected. */
export function openStandby({ store, self, clock, log, answerOurselves }: StandbyOptions): Standby {
  const closing = new AbortController()
  const leaders = openLeaders({ store, self, clock }, { signal: closing.signal })
  const relay = openRelay({ self, leaders, clock, log })
  const nodes = openNodeStreams(openStandbyOffice({ relay, clock, log }))
  const close = () => {
    closing.abort()
    relay.close()
    nodes.close()
  }
  return {
    services: { session: sendAgentsOn(leaders), subscribe: nodes.serve },
    answer: standbyHttp({ self, leaders, relay, clock, answerOurselves }),
    elected: () => relay.close(),
    lead: () => {
      leaders.leadOurselves()
      closing.abort()
      nodes.close(new AppError(standbyCode, 'this master leads now', { details: { leader: self.grpc } }))
    },
    close,
  }
}
