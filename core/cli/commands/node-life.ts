import { setTimeout as sleepMs } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'
import { type Api, isRecord } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { recordsOf } from '../up/sample.ts'
import { targetApi } from './target.ts'

/** Options of the commands that change what an agent is for. */
export interface LifeOptions extends GlobalOptions {
  readonly wait?: boolean
  /** Seconds; cuts the kill grace of its tasks. */
  readonly grace?: string
  readonly gone?: boolean
  readonly timeout?: string
}

const pollMs = 500

/** `weft node drain NAME`: ends what runs there, offers nothing; `--wait` until it is empty. */
export async function drainNode(options: LifeOptions, name: string): Promise<void> {
  const seconds = options.grace === undefined ? undefined : Number(options.grace)
  if (seconds !== undefined && !(seconds >= 0)) throw new AppError('ERR_CLI_USAGE', '--grace takes seconds')
  const grace = seconds === undefined ? {} : { max_grace_period: { nanoseconds: Math.round(seconds * 1e9) } }
  await change(options, name, { type: 'DRAIN_AGENT', more: { ...grace, mark_gone: options.gone === true } })
  if (options.wait === true) await waitDrained(options, name)
  print(
    { node: name, life: options.wait === true ? 'drained' : 'draining' },
    ({ life }) => `${name} is ${life}`,
    options,
  )
}

/** `weft node deactivate NAME`: nothing new there; what runs goes on. */
export async function deactivateNode(options: LifeOptions, name: string): Promise<void> {
  await change(options, name, { type: 'DEACTIVATE_AGENT' })
  print({ node: name, life: 'deactivated' }, () => `${name} is deactivated`, options)
}

/** `weft node reactivate NAME`. */
export async function reactivateNode(options: LifeOptions, name: string): Promise<void> {
  await change(options, name, { type: 'REACTIVATE_AGENT' })
  print({ node: name, life: 'active' }, () => `${name} is active`, options)
}

/** `weft node gone NAME`: its agent is refused for ever, its tasks are lost. */
export async function giveUpNode(options: LifeOptions, name: string): Promise<void> {
  await change(options, name, { type: 'MARK_AGENT_GONE' })
  print({ node: name, life: 'gone' }, () => `the agent of ${name} is gone`, options)
}

interface Wish {
  readonly type: string
  readonly more?: object
}

async function change(options: LifeOptions, name: string, { type, more = {} }: Wish): Promise<void> {
  const api = targetApi(options)
  const { agentId } = await nodeOf(api, name)
  if (typeof agentId !== 'string') throw new AppError('ERR_CLI_NODE', `node "${name}" has no agent`)
  const body = { type, [type.toLowerCase()]: { agent_id: { value: agentId }, ...more } }
  const answer = await api.request('POST', '/api/v1', body)
  if (answer.status >= 200 && answer.status < 300) return
  throw new AppError('ERR_CLI_REFUSED', typeof answer.body === 'string' ? answer.body : `answered ${answer.status}`)
}

async function nodeOf(api: Api, name: string): Promise<Record<string, unknown>> {
  const node = (await recordsOf(api, '/weft/v1/nodes', 'nodes')).find((one) => one['name'] === name)
  if (node === undefined) throw new AppError('ERR_CLI_NODE', `there is no node "${name}": weft node list tells them`)
  return node
}

/** Tells on standard error how many tasks are left. @throws ERR_CLI_DRAIN when it takes longer than `--timeout` */
async function waitDrained(options: LifeOptions, name: string): Promise<void> {
  const api = targetApi(options)
  const seconds = Number(options.timeout ?? '600')
  const deadline = performance.now() + seconds * 1000
  let told = -1
  for (;;) {
    const [agents, node] = await Promise.all([recordsOf(api, '/slaves', 'slaves'), nodeOf(api, name)])
    const agent = agents.find(({ id }) => id === node['agentId'])
    const info = isRecord(agent?.['drain_info']) ? agent['drain_info'] : {}
    if (agent === undefined || info['state'] === 'DRAINED') return
    const tasks = (await recordsOf(api, '/weft/v1/tasks', 'tasks')).filter((task) => task['node'] === name).length
    if (tasks !== told && !options.json) process.stderr.write(`${name}: ${tasks} tasks left\n`)
    told = tasks
    if (performance.now() > deadline) {
      throw new AppError('ERR_CLI_DRAIN', `${name} still has ${tasks} tasks after ${seconds} s; it goes on draining`)
    }
    await sleepMs(pollMs)
  }
}
