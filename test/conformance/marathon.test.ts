import { setTimeout } from 'node:timers/promises'
import { fastify } from 'fastify'
import t from 'tap'
import { systemClock } from '../../core/base/clock.ts'
import { silentLog } from '../../core/base/log.ts'
import { openServices } from '../../core/services/services.ts'
import { openMemoryStore } from '../../core/store/memory.ts'
import { startAgent, startMaster } from '../support/master.ts'
import { marathonScript } from './marathon-script.ts'
import { type Step } from './marathon-step.ts'

/** How often, and how long between, a step is asked that must come about. */
const attempts = { count: 200, pauseMs: 25 }

/** A master in this process with two scripted agents, its services on loopback. */
async function startMarathon(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const store = openMemoryStore()
  const master = await startMaster(store)
  const agents = ['node1', 'node2'].map((name) => startAgent({ name, address: master.address, manner: 'runs' }))
  const services = await openServices({
    ...{ driver: master.driver, store, term: master.context.term, clock: systemClock, log: silentLog },
    cluster: {
      hostname: 'master',
      networkNames: () => new Set(master.context.registrar.state.networks.keys()),
      version: () => master.context.keeper.version(),
      leader: () => '127.0.0.1:8080',
    },
  })
  const app = fastify({ forceCloseConnections: true })
  await app.register(services.routes)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const close = async () => {
    await services.close()
    await app.close()
    for (const agent of agents) await agent.stop()
    await master.crash()
  }
  return { url, close }
}

type Captured = Map<string, string>

/** `value` with what was captured in place of `{name}`; patterns stay as they are. */
function fill(value: unknown, captured: Captured): unknown {
  if (typeof value === 'string') return fillText(value, captured)
  if (Array.isArray(value)) return value.map((item: unknown) => fill(item, captured))
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, captured)]))
}

function fillText(text: string, captured: Captured): string {
  return text.replaceAll(/\{(\w+)\}/g, (_, name: string) => captured.get(name) ?? `{${name}}`)
}

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly deployment: string | null
}

async function send(url: string, step: Step, captured: Captured): Promise<Answer> {
  const body = step.body === undefined ? {} : { body: JSON.stringify(fill(step.body, captured)) }
  const type = step.body === undefined ? {} : { 'content-type': 'application/json' }
  const accept = step.accept === 'text/plain' ? 'text/plain' : 'application/json'
  const response = await fetch(url + fillText(step.path, captured), {
    method: step.method,
    headers: { accept, ...type },
    ...body,
  })
  const text = await response.text()
  const isText = step.accept !== undefined || text === '' || !response.headers.get('content-type')?.includes('json')
  const deployment = response.headers.get('marathon-deployment-id')
  return { status: response.status, body: isText ? text : parseJson(text), deployment }
}

function at(body: unknown, path: readonly (string | number)[]): unknown {
  let value = body
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  return value
}

function parseJson(text: string): unknown {
  return JSON.parse(text)
}

/** What `t.match` says, for steps that are asked until it is so, without a word in the report. */
function matches(value: unknown, pattern: unknown): boolean {
  if (pattern instanceof RegExp) return typeof value === 'string' && pattern.test(value)
  if (pattern === Number || pattern === String) return typeof value === (pattern === Number ? 'number' : 'string')
  if (typeof pattern !== 'object' || pattern === null) return Object.is(value, pattern)
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(pattern) && (!Array.isArray(value) || value.length < pattern.length)) return false
  return Object.entries(pattern).every(([key, item]) => matches(Reflect.get(value, key), item))
}

function differs(step: Step, answer: Answer, captured: Captured): boolean {
  return (
    answer.status !== step.status || (step.expect !== undefined && !matches(answer.body, fill(step.expect, captured)))
  )
}

t.test('what Marathon answers', async (t) => {
  const { url, close } = await startMarathon()
  t.teardown(close)
  const captured: Captured = new Map()
  t.ok(marathonScript.length >= 100, `${marathonScript.length} requests`)
  for (const step of marathonScript) {
    let answer = await send(url, step, captured)
    for (let i = 0; step.until !== undefined && i < attempts.count && differs(step, answer, captured); i++) {
      await setTimeout(attempts.pauseMs)
      answer = await send(url, step, captured)
    }
    const name = `${step.method} ${fillText(step.path, captured)} ${step.status} ${JSON.stringify(step.body ?? '')}`
    const expected = fill(step.expect, captured)
    const told = step.header === undefined ? {} : { deployment: /^[0-9a-f-]{36}$/ }
    t.match(answer, { status: step.status, ...(expected === undefined ? {} : { body: expected }), ...told }, name)
    for (const [key, path] of Object.entries(step.capture ?? {})) captured.set(key, String(at(answer.body, path)))
  }
})
