import { type JsonObject } from '../scheduling/json.ts'

/** An event of /v2/events: `eventType` and `timestamp` are in the body too, as Marathon has them. */
export interface ServiceEvent {
  readonly type: string
  readonly body: JsonObject
}

/** Tells what happened to whoever listens. */
export interface EventHub {
  emit(type: string, fields: JsonObject): void
  /** @returns ends the subscription */
  subscribe(listener: (event: ServiceEvent) => void): () => void
}

/** A hub; `nowMs` is the wall clock. Listeners must not throw and must not wait: who is slow keeps its own queue. */
export function makeEventHub(nowMs: () => number): EventHub {
  const listeners = new Set<(event: ServiceEvent) => void>()
  return {
    emit: (type, fields) => {
      if (listeners.size === 0) return
      const event = { type, body: { eventType: type, timestamp: new Date(nowMs()).toISOString(), ...fields } }
      for (const listener of listeners) listener(event)
    },
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
