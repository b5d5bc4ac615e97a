import { type FrameworkInfo, type Offer } from '../../../model/scheduler.ts'
import { formatReservation, formatResources } from '../../../api/mesos/format-resources.ts'

/** Where an agent is, for the offer's `url`. */
export interface AgentAddress {
  readonly ip: string
  readonly port: number
}

/** What an offer is told with. */
export interface OfferFor {
  readonly capabilities: FrameworkInfo['capabilities']
  readonly address: AgentAddress | undefined
}

/** An offer as its framework reads it. Source: mesos, mesos.proto, message Offer. */
export function formatOffer(offer: Offer, { capabilities, address }: OfferFor): object {
  const { id, frameworkId, agentId, hostname, role, resources, reserved = [], attributes } = offer
  const style = capabilities.includes('RESERVATION_REFINEMENT') ? 'reservations' : 'role'
  return {
    id: { value: id },
    framework_id: { value: frameworkId },
    agent_id: { value: agentId },
    hostname,
    ...(address && { url: { scheme: 'http', address: { hostname, ...address }, path: '/slave(1)' } }),
    allocation_info: { role },
    resources: [
      ...formatResources(resources, { role, style }),
      ...reserved.flatMap((reservation) => formatReservation(reservation, { role, style })),
    ],
    attributes: Object.entries(attributes).map(([name, text]) => formatAttribute(name, text)),
  }
}

/** An attribute with the type that its text has. Source: mesos, src/common/attributes.cpp: a number, ranges, or text. */
export function formatAttribute(name: string, text: string): object {
  if (/^-?\d+(\.\d+)?$/.test(text)) return { name, type: 'SCALAR', scalar: { value: Number(text) } }
  const ranges = /^\[\s*(\d+-\d+(\s*,\s*\d+-\d+)*)\s*\]$/.exec(text)?.[1]
  if (ranges === undefined) return { name, type: 'TEXT', text: { value: text } }
  const range = ranges.split(',').map((part) => {
    const [begin = 0, end = 0] = part.split('-').map(Number)
    return { begin, end }
  })
  return { name, type: 'RANGES', ranges: { range } }
}
