import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { type Json, launch, RecordReader, wireTask } from '../mesos-framework-client.ts'

/** What a framework was told of a task. */
export interface Told {
  readonly taskId: string
  readonly state: string
  /** Absent for what needs no acknowledgement. */
  readonly uuid?: string
  readonly agentId: string
  readonly reason?: string
}

/** A framework that speaks the v1 API and comes back, with its id, after whatever ends its stream. */
export interface FaultFramework {
  /** Every update since it began, repeated ones too. */
  readonly told: readonly Told[]
  /** Of all connections. */
  readonly subscriptions: () => number
  acknowledging: boolean
  /** Launches it with the next offer (of that node), and waits until it is accepted. */
  launch(id: string, command: string, node?: string): Promise<void>
  kill(id: string): Promise<void>
  /** Acknowledges from now on, and what it did not acknowledge so far. */
  acknowledgeAll(): Promise<void>
  /** Cuts its stream; it subscribes again at once. */
  cut(): void
  /** Ends it for good: its tasks are killed. */
  teardown(): Promise<void>
}

const terminal = ['TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED', 'TASK_LOST', 'TASK_DROPPED', 'TASK_GONE', 'TASK_ERROR']

/** True for a state that nothing follows. */
export function isTerminal(state: string): boolean {
  return terminal.includes(state)
}

interface State {
  readonly url: string
  readonly told: Told[]
  readonly wanted: Map<string, { readonly command: string; readonly node?: string; readonly accepted: () => void }>
  id: string | undefined
  streamId: string
  subscriptions: number
  stream: ClientRequest | undefined
  acknowledging: boolean
  closed: boolean
}

/** Starts it; `url` is the masters' published address. */
export function openFaultFramework(url: string): FaultFramework {
  const state: State = {
    ...{ url: `${url}/api/v1/scheduler`, told: [], wanted: new Map(), id: undefined, streamId: '', subscriptions: 0 },
    ...{ stream: undefined, acknowledging: true, closed: false },
  }
  void stay(state)
  return {
    told: state.told,
    subscriptions: () => state.subscriptions,
    get acknowledging() {
      return state.acknowledging
    },
    set acknowledging(value: boolean) {
      state.acknowledging = value
    },
    launch: async (id, command, node) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      state.wanted.set(id, { command, accepted: resolve, ...(node === undefined ? {} : { node }) })
      await repeat(state, 'REVIVE')
      await promise
    },
    kill: (id) => repeat(state, 'KILL', { task_id: { value: id } }),
    acknowledgeAll: async () => {
      state.acknowledging = true
      for (const told of state.told) if (told.uuid !== undefined) await acknowledge(state, told)
    },
    cut: () => state.stream?.destroy(),
    teardown: async () => {
      await repeat(state, 'TEARDOWN')
      state.closed = true
      state.stream?.destroy()
    },
  }
}

async function stay(state: State): Promise<void> {
  while (!state.closed) {
    await subscribe(state).catch(() => undefined) // whatever broke it: the next attempt tells
    await pause(100)
  }
}

/** Resolves when the stream is over. */
function subscribe(state: State): Promise<void> {
  const id = state.id === undefined ? {} : { id: { value: state.id } }
  const info = { user: 'root', name: 'faults', failover_timeout: 3600, ...id }
  const capabilities = [{ type: 'PARTITION_AWARE' }]
  const call = { type: 'SUBSCRIBE', subscribe: { framework_info: { ...info, capabilities } } }
  const body = { ...call, ...(state.id === undefined ? {} : { framework_id: { value: state.id } }) }
  return new Promise((resolve, reject) => {
    const sent = request(state.url, { ...jsonPost, headers: { ...jsonPost.headers, Accept: 'application/json' } })
    state.stream = sent
    sent.on('error', reject)
    sent.on('close', resolve)
    sent.on('response', (response) => {
      if (response.statusCode !== 200) return void sent.destroy()
      state.streamId = String(response.headers['mesos-stream-id'])
      const reader = new RecordReader()
      response.on('error', () => undefined) // closed by `close`
      response.on('data', (chunk: Buffer) => {
        for (const event of reader.push(chunk)) hear(state, event)
      })
    })
    sent.end(JSON.stringify(body))
  })
}

function hear(state: State, event: Json): void {
  if (event.type === 'SUBSCRIBED') {
    state.id = event.subscribed.framework_id.value
    state.subscriptions++
    if (state.wanted.size > 0) void call(state, 'REVIVE').catch(() => undefined)
  } else if (event.type === 'OFFERS') {
    for (const offer of event.offers.offers) void answerOffer(state, offer).catch(() => undefined)
  } else if (event.type === 'UPDATE') {
    const { task_id, state: now, uuid, agent_id, reason } = event.update.status
    const told = { taskId: task_id.value, state: now, uuid, agentId: agent_id?.value, reason }
    state.told.push(told)
    if (uuid !== undefined && state.acknowledging) void acknowledge(state, told).catch(() => undefined)
  }
}

async function acknowledge(state: State, { taskId, agentId, uuid }: Told): Promise<void> {
  await call(state, 'ACKNOWLEDGE', { task_id: { value: taskId }, agent_id: { value: agentId }, uuid })
}

/** An accept without an answer is not repeated: what became of it is told by updates, as for any framework. */
async function answerOffer(state: State, offer: Json): Promise<void> {
  const fits = [...state.wanted].find(([, { node }]) => node === undefined || offer.hostname.startsWith(node))
  if (fits === undefined) {
    const filters = { refuse_seconds: state.wanted.size === 0 ? 3_600 : 0.1 }
    return void (await call(state, 'DECLINE', { offer_ids: [offer.id], filters }))
  }
  const [id, { command, accepted }] = fits
  state.wanted.delete(id)
  const container = { type: 'MESOS', network_infos: [{ name: 'dcos' }] }
  await call(state, 'ACCEPT', launch(offer, [wireTask(offer, id, { command: { value: command }, container })]))
  accepted()
}

/** Again until a leader has taken it. */
async function repeat(state: State, type: string, body?: Json): Promise<void> {
  for (let i = 0; i < 150; i++) {
    const status = await call(state, type, body).catch(() => 0)
    if (status === 202) return
    await pause(200)
  }
  throw new Error(`no leader takes ${type}`)
}

const jsonPost = { method: 'POST', agent: false, headers: { 'Content-Type': 'application/json' } } as const

/** @returns the answer's status */
function call(state: State, type: string, body?: Json): Promise<number> {
  const member = body === undefined ? {} : { [type.toLowerCase()]: body }
  return new Promise((resolve, reject) => {
    const headers = { ...jsonPost.headers, 'Mesos-Stream-Id': state.streamId }
    const sent = request(state.url, { ...jsonPost, headers, timeout: 3_000 }, (response: IncomingMessage) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', reject)
    sent.end(JSON.stringify({ type, framework_id: { value: state.id }, ...member }))
  })
}
