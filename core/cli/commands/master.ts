import { isRecord } from '../api.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'

/** `weft master list`. */
export async function listMasters(globals: GlobalOptions): Promise<void> {
  const answer = await targetApi(globals).get('/weft/v1/masters')
  const body = isRecord(answer) ? answer : {}
  const masters = Array.isArray(body['masters']) ? body['masters'].filter(isRecord) : []
  const rows = masters.map(({ node, role, http, connected }) => {
    const state = connected === false ? 'away' : role === 'leader' ? `term ${String(body['term'] ?? '?')}` : 'follows'
    return [node, role, state, http ?? '-'].map(String)
  })
  print(answer, () => formatTable(['MASTER', 'ROLE', 'STATE', 'HTTP'], rows), globals)
}
