import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { targetApi } from './target.ts'

/** How long a change may take to reach every node before the command ends with who is missing. */
const convergeLimitMs = 10_000

/** `weft node remove NAME`: a machine that is gone for good; its subnets and its tasks' resources come back. */
export async function removeNode(globals: GlobalOptions & { readonly wait: boolean }, name: string): Promise<void> {
  const api = targetApi(globals)
  const { body } = await api.send('DELETE', `/weft/v1/nodes/${encodeURIComponent(name)}`)
  if (globals.wait) await convergeOn(api, body)
  print(body, () => `node ${name} is removed`, globals)
}

/**
 * Waits until the version that a change's answer names has reached every node.
 * @throws ERR_CLI_CONVERGE naming the nodes that it has not reached in time
 */
export async function convergeOn(api: Api, body: unknown): Promise<void> {
  if (!isRecord(body) || typeof body['version'] !== 'number') return
  const query = `version=${body['version']}&timeoutMs=${convergeLimitMs}`
  const answer = await api.get(`/weft/v1/converge?${query}`)
  if (!isRecord(answer) || answer['converged'] === true) return
  const missing = Array.isArray(answer['missing']) ? answer['missing'].filter(isRecord) : []
  const nodes = missing.map(({ node, problem }) => `${node}${problem === undefined ? '' : ` (${problem})`}`)
  const message = `done, but version ${body['version']} has not reached ${nodes.join(', ')} yet: weft converge waits for it`
  throw new AppError('ERR_CLI_CONVERGE', message)
}
