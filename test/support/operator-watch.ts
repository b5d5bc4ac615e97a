/** An event of the operator API. */
export interface OperatorEvent {
  readonly type: string
}

/** A subscription that remembers what it got. */
export interface OperatorWatch {
  /** The next event that was not asked for yet; waits for it. */
  next(): Promise<OperatorEvent>
  all(): readonly OperatorEvent[]
  types(): readonly string[]
  close(): void
}

/** Subscribes at a master's `url`. */
export async function openOperatorWatch(url: string): Promise<OperatorWatch> {
  const ending = new AbortController()
  const response = await fetch(`${url}/api/v1`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"type":"SUBSCRIBE"}',
    signal: ending.signal,
  })
  if (!response.ok || response.body === null) throw new Error(`SUBSCRIBE was answered ${response.status}`)
  const events: OperatorEvent[] = []
  let wake = () => {}
  const read = async (body: ReadableStream<Uint8Array>) => {
    let rest = Buffer.alloc(0)
    for await (const chunk of body) {
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const end = rest.indexOf('\n')
        const length = Number(rest.subarray(0, Math.max(end, 0)).toString())
        if (end < 0 || rest.length < end + 1 + length) break
        events.push(JSON.parse(rest.subarray(end + 1, end + 1 + length).toString()))
        rest = rest.subarray(end + 1 + length)
      }
      wake()
    }
  }
  read(response.body).catch(() => wake()) // AbortError: closed
  let asked = 0
  return {
    next: async () => {
      const deadline = performance.now() + 15_000
      for (;;) {
        const event = events[asked]
        if (event !== undefined) {
          asked++
          return event
        }
        if (performance.now() > deadline)
          throw new Error(`no more events after ${events.map(({ type }) => type).join(', ')}`)
        await new Promise<void>((resolve) => {
          wake = resolve
          setTimeout(resolve, 200).unref()
        })
      }
    },
    all: () => events,
    types: () => events.map(({ type }) => type),
    close: () => ending.abort(),
  }
}
