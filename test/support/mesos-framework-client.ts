import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { until } from './master.ts'

/** JSON of which a test knows what is in it. */
// biome-ignore lint/suspicious/noExplicitAny: what a test reads from the wire has no type, and a wrong path fails the test
export type Json = any

/** An event as it came. */
export interface WireEvent {
  readonly type: string
  readonly [member: string]: Json
}

/** An answer to one request. */
export interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: IncomingMessage['headers']
}

/** Sends one request with exactly these headers. */
export async function post(
  url: string,
  body: string | Buffer,
  options: { readonly headers?: Record<string, string>; readonly method?: string } = {},
): Promise<Answer> {
  const { headers = { 'Content-Type': 'application/json' }, method = 'POST' } = options
  const sent = request(url, { method, headers: { 'Content-Length': String(Buffer.byteLength(body)), ...headers } })
  sent.end(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(Buffer.from(chunk))
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString(), headers: response.headers }
}

/** The records of a stream: decimal length, newline, JSON. @throws for anything else */
export class RecordReader {
  #rest: Buffer = Buffer.alloc(0)

  push(chunk: Buffer): readonly Json[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const found: Json[] = []
    for (;;) {
      const newline = this.#rest.indexOf(10)
      if (newline < 0) return found
      const length = this.#rest.subarray(0, newline).toString()
      if (!/^\d+$/.test(length)) throw new Error(`not a RecordIO length: ${JSON.stringify(length)}`)
      const end = newline + 1 + Number(length)
      if (this.#rest.length < end) return found
      found.push(JSON.parse(this.#rest.subarray(newline + 1, end).toString()))
      this.#rest = this.#rest.subarray(end)
    }
  }
}

/** A framework of a test that speaks the v1 API with nothing of ours. */
export interface MesosFramework {
  readonly url: string
  readonly events: WireEvent[]
  /** One number for each chunk of the answer: how many whole records it held. */
  readonly recordsPerChunk: number[]
  readonly streamId: string
  readonly headers: IncomingMessage['headers']
  id(): string
  /** The stream is over. */
  ended(): boolean
  /** Makes a call, with id and stream id; the answer is checked by the test. */
  call(type: string, body?: Json): Promise<Answer>
  /** Waits for the n-th (from 0) event of a type, that also `matches`. */
  wait(type: string, matches?: (event: Json) => boolean, nth?: number): Promise<Json>
  /** Statuses of a task, in order. */
  statuses(taskId: string): readonly Json[]
  pause(): void
  /** Cuts the connection. */
  cut(): void
}

/** Subscribes, and waits for the answer's headers. `more` are members of FrameworkInfo. */
export async function subscribeMesos(url: string, more: Json = {}, subscribe: Json = {}): Promise<MesosFramework> {
  const info = { user: 'root', name: 'wire', failover_timeout: 3600, ...more }
  const call = { type: 'SUBSCRIBE', subscribe: { framework_info: info, ...subscribe }, framework_id: info.id ?? null }
  const sent = request(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
  })
  sent.end(JSON.stringify(call))
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`SUBSCRIBE: ${response.statusCode}`)
  const events: WireEvent[] = []
  const recordsPerChunk: number[] = []
  const reader = new RecordReader()
  let over = false
  response.on('data', (chunk: Buffer) => {
    const found = reader.push(chunk)
    recordsPerChunk.push(found.length)
    events.push(...found)
  })
  for (const name of ['end', 'close', 'error'] as const) response.on(name, () => (over = true))
  const id = () => events.find(({ type }) => type === 'SUBSCRIBED')?.['subscribed'].framework_id.value ?? info.id?.value
  const streamId = String(response.headers['mesos-stream-id'])
  return {
    ...{ url, events, recordsPerChunk, streamId, id },
    headers: response.headers,
    ended: () => over,
    call: (type, body) => {
      const member = body === undefined ? {} : { [type.toLowerCase()]: body }
      const headers = { 'Content-Type': 'application/json', 'Mesos-Stream-Id': streamId }
      return post(url, JSON.stringify({ type, framework_id: { value: id() }, ...member }), { headers })
    },
    wait: async (type, matches = () => true, nth = 0) => {
      const all = () => events.filter((event) => event.type === type && matches(event[type.toLowerCase()]))
      await until(() => all().length > nth, `event ${type} in ${JSON.stringify(events).slice(-2000)}`)
      return all()[nth]?.[type.toLowerCase()]
    },
    statuses: (taskId) =>
      events.flatMap(({ type, ...event }) =>
        type === 'UPDATE' && event['update'].status.task_id.value === taskId ? [event['update'].status] : [],
      ),
    pause: () => response.pause(),
    cut: () => sent.destroy(),
  }
}

/** A task that runs a command on the offer's agent. */
export function wireTask(offer: Json, id: string, more: Json = {}): Json {
  return {
    name: id,
    task_id: { value: id },
    agent_id: offer.agent_id,
    resources: [
      { name: 'cpus', type: 'SCALAR', scalar: { value: 0.1 } },
      { name: 'mem', type: 'SCALAR', scalar: { value: 32 } },
    ],
    command: { value: 'sleep 1000' },
    ...more,
  }
}

/** The arguments of an ACCEPT that launches tasks. */
export function launch(offer: Json, tasks: readonly Json[], refuseSeconds = 3_600): Json {
  return {
    offer_ids: [offer.id],
    operations: [{ type: 'LAUNCH', launch: { task_infos: tasks } }],
    filters: { refuse_seconds: refuseSeconds },
  }
}
