import { AppError } from '../../base/errors.ts'
import { isRecord } from '../api.ts'
import { rowsOf } from '../deploying/progress.ts'
import { idPath } from '../deploying/wanted.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { finish, type ForceOptions, type WaitOptions } from './finish.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

/** `weft group list`: each group with the apps that are directly in it. */
export async function listGroups(globals: GlobalOptions): Promise<void> {
  const root = await targetApi(globals).get('/v2/groups')
  const groups = isRecord(root) ? flatten(root) : []
  const row = (group: Row) => [
    String(group['id']),
    String(rowsOf(group['apps']).length),
    String(rowsOf(group['groups']).length),
    Array.isArray(group['dependencies']) ? group['dependencies'].join(' ') || '-' : '-',
  ]
  print(groups, () => formatTable(['ID', 'APPS', 'GROUPS', 'DEPENDS ON'], groups.map(row)), globals)
}

function flatten(group: Row): readonly Row[] {
  return [group, ...rowsOf(group['groups']).flatMap(flatten)]
}

/** `weft group show ID`. */
export async function showGroup(globals: GlobalOptions, id: string): Promise<void> {
  const group = await targetApi(globals).get(id === '/' ? '/v2/groups' : idPath('groups', id))
  print(group, () => JSON.stringify(group, undefined, 2), globals)
}

/** `weft group scale ID FACTOR`: every app of it gets so many times its instances, rounded up. */
export async function scaleGroup(
  options: GlobalOptions & WaitOptions & ForceOptions,
  id: string,
  factor: string,
): Promise<void> {
  const scaleBy = Number(factor)
  if (factor === '' || !(scaleBy >= 0 && scaleBy <= 1_000_000)) {
    throw new AppError('ERR_CLI_USAGE', `"${factor}" is not a factor, like 2 or 0.5`)
  }
  const api = targetApi(options)
  const { body } = await api.send('PUT', `${idPath('groups', id)}?force=${options.force}`, { scaleBy })
  await finish({ api, options, what: `${id} scaled by ${factor}`, body })
}

/** `weft group remove ID`: all that is in it. */
export async function removeGroup(options: GlobalOptions & WaitOptions & ForceOptions, id: string): Promise<void> {
  const api = targetApi(options)
  const { body } = await api.send('DELETE', `${idPath('groups', id)}?force=${options.force}`)
  await finish({ api, options, what: `${id} removed`, body })
}
