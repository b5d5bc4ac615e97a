import { isRecord } from '../api.ts'
import { rowsOf } from '../deploying/progress.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

/** `weft queue`: apps whose instances wait, and why, by the last offers of each agent. */
export async function showQueue(globals: GlobalOptions): Promise<void> {
  const body = await targetApi(globals).get('/v2/queue')
  const queue = rowsOf(isRecord(body) ? body['queue'] : undefined)
  const table = () => formatTable(['APP', 'MISSING', 'SINCE', 'DELAY', 'WHY'], queue.map(queueRow))
  print(queue, () => (queue.length === 0 ? 'nothing waits' : table()), globals)
}

function queueRow(item: Row): readonly string[] {
  const app = isRecord(item['app']) ? item['app'] : isRecord(item['pod']) ? item['pod'] : {}
  const delay = isRecord(item['delay']) ? item['delay'] : {}
  const left = Number(delay['timeLeftSeconds'] ?? 0)
  return [
    String(app['id']),
    String(item['count']),
    String(item['since'] ?? '-'),
    left > 0 ? `${left} s` : '-',
    reasonsOf(item['processedOffersSummary']),
  ]
}

function reasonsOf(summary: unknown): string {
  const { rejectSummaryLastOffers: last, processedOffersCount: count } = isRecord(summary) ? summary : {}
  const declined = rowsOf(last).filter((step) => Number(step['declined']) > 0)
  const reasons = declined.map((step) => `${String(step['reason'])} on ${String(step['declined'])}`)
  if (reasons.length > 0) return reasons.join(', ')
  return Number(count ?? 0) === 0 ? 'no agent has offered yet' : 'waits for the next offers'
}
