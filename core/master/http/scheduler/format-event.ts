import { unreachable } from '../../../base/errors.ts'
import { type AgentId } from '../../../model/ids.ts'
import { type SchedulerEvent } from '../../../model/scheduler.ts'
import { type AgentAddress, formatOffer } from './format-offer.ts'
import { formatStatus } from '../../../api/mesos/format-status.ts'
import { heartbeatSeconds } from '../../../api/mesos/record-stream.ts'

/** What events are told with. */
export interface EventFor {
  readonly capabilities: readonly string[]
  /** Message MasterInfo. */
  readonly masterInfo: object
  readonly addressOf: (agentId: AgentId) => AgentAddress | undefined
}

/** An event as its framework reads it. Source: mesos, scheduler.proto, message Event. */
export function formatEvent(event: SchedulerEvent, about: EventFor): object {
  switch (event.kind) {
    case 'subscribed':
      return record('SUBSCRIBED', {
        framework_id: { value: event.frameworkId },
        heartbeat_interval_seconds: heartbeatSeconds,
        master_info: about.masterInfo,
      })
    case 'offers': {
      const { capabilities, addressOf } = about
      const offers = event.offers.map((offer) =>
        formatOffer(offer, { capabilities, address: addressOf(offer.agentId) }),
      )
      return record('OFFERS', { offers })
    }
    case 'rescind':
      return record('RESCIND', { offer_id: { value: event.offerId } })
    case 'update':
      return record('UPDATE', { status: formatStatus(event.status, event.agentId) })
    case 'failure': {
      const { agentId, executorId, status } = event
      return record('FAILURE', {
        agent_id: { value: agentId },
        ...(executorId && { executor_id: { value: executorId } }),
        ...(status === undefined ? {} : { status }),
      })
    }
    case 'message': {
      const { agentId, executorId, data } = event
      return record('MESSAGE', { agent_id: { value: agentId }, executor_id: { value: executorId }, data })
    }
    case 'error':
      return record('ERROR', { message: event.message })
    default:
      return unreachable(event)
  }
}

function record(type: string, body: object): object {
  return { type, [type.toLowerCase()]: body }
}
