import { type Logger } from '../../core/base/log.ts'
import { headerBytes } from '../dns/constants.ts'
import { decodeMessage } from '../dns/message.ts'
import { formatRcode, formatType } from '../dns/presentation.ts'
import { type Responder } from './respond.ts'

/** A responder that writes a line for each query that got an answer: what was asked, how, and what it got. */
export function logQueries(respond: Responder, log: Logger, nowMs: () => number): Responder {
  return (packet, options) => {
    const started = nowMs()
    const tell = (response: Uint8Array | undefined) => {
      const { transport } = options
      log.info({ ...describe(packet, response), transport, ms: Math.round((nowMs() - started) * 1000) / 1000 }, 'query')
      return response
    }
    const response = respond(packet, options)
    return response instanceof Promise ? response.then(tell) : tell(response)
  }
}

function describe(packet: Uint8Array, response: Uint8Array | undefined): Readonly<Record<string, unknown>> {
  if (response === undefined || response.length < headerBytes) return { bytes: packet.length, answer: 'none' }
  try {
    const { questions, rcode, answers, truncated } = decodeMessage(response)
    const [question] = questions
    const asked = question === undefined ? {} : { name: question.name, type: formatType(question.type) }
    return { ...asked, rcode: formatRcode(rcode), answers: answers.length, truncated }
  } catch {
    return { bytes: packet.length, answer: 'malformed' } // ERR_DNS_FORMAT: a forwarded answer that nobody can read
  }
}
