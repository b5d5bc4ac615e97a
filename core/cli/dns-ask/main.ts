// Asks one name server from inside the namespace that this process was started in: `weft dns` starts it on a host.
// Words: SERVER NAME TYPE udp|tcp json|text. Exits with 0 for an answer, 1 for none.
import { AppError, errorMessage } from '../../base/errors.ts'
import { parseIp } from '../../base/ip.ts'
import { type Message } from '../../../discovery/dns/message.ts'
import { parseName } from '../../../discovery/dns/name.ts'
import { formatMessage, formatRcode, formatRecord, parseType } from '../../../discovery/dns/presentation.ts'
import { queryDns } from '../../../discovery/dns/query.ts'

const timeoutMs = 3_000

function toJson(message: Message): unknown {
  const { rcode, answers, authorities, additionals } = message
  const texts = { answers, authorities, additionals }
  const sections = Object.entries(texts).map(([name, records]) => [name, records.map(formatRecord)])
  return { rcode: formatRcode(rcode), ...Object.fromEntries(sections) }
}

async function main(): Promise<void> {
  const [server = '', name = '', type = 'A', transport, format] = process.argv.slice(2)
  const { signal } = new AbortController()
  const query = { server: parseIp(server), name: parseName(name), type: parseType(type), timeoutMs, signal }
  const message = await queryDns({ ...query, tcp: transport === 'tcp' })
  process.stdout.write(
    `${format === 'json' ? JSON.stringify(toJson(message), undefined, 2) : formatMessage(message)}\n`,
  )
  if (message.answers.length === 0) {
    throw new AppError('ERR_CLI_NO_ANSWER', `${formatRcode(message.rcode)}: no ${type} record of that name`)
  }
}

try {
  await main()
} catch (error) {
  process.stderr.write(`weft dns: ${errorMessage(error)}\n`)
  process.exitCode = 1
}
