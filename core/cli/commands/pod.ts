import { isRecord } from '../api.ts'
import { rowsOf } from '../deploying/progress.ts'
import { idPath } from '../deploying/wanted.ts'
import { formatTable, print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { finish, type ForceOptions, type WaitOptions } from './finish.ts'
import { targetApi } from './target.ts'

type Row = Record<string, unknown>

/** `weft pod list`. */
export async function listPods(globals: GlobalOptions): Promise<void> {
  const pods = rowsOf(await targetApi(globals).get('/v2/pods'))
  print(pods, () => formatTable(['ID', 'INSTANCES', 'CONTAINERS', 'VERSION'], pods.map(podRow)), globals)
}

function podRow(pod: Row): readonly string[] {
  const scaling = isRecord(pod['scaling']) ? pod['scaling'] : {}
  const containers = rowsOf(pod['containers']).map(({ name }) => String(name))
  return [String(pod['id']), String(scaling['instances'] ?? 1), containers.join(' '), String(pod['version'] ?? '-')]
}

/** `weft pod show ID`: with the state of each instance. */
export async function showPod(globals: GlobalOptions, id: string): Promise<void> {
  const pod = await targetApi(globals).get(`${idPath('pods', id)}::status`)
  print(pod, () => JSON.stringify(pod, undefined, 2), globals)
}

/** `weft pod remove ID`. */
export async function removePod(options: GlobalOptions & WaitOptions & ForceOptions, id: string): Promise<void> {
  const api = targetApi(options)
  const { headers } = await api.send('DELETE', `${idPath('pods', id)}?force=${options.force}`)
  const deploymentId = headers.get('marathon-deployment-id') ?? undefined
  await finish({ api, options, what: `${id} removed`, body: { id, deploymentId } })
}
