import { type PullProgress } from './skopeo.ts'

/** Work that several wait for and one does. */
export interface Flights<T> {
  /**
   * Starts the work named `key`, or joins it. Who is aborted leaves; when all have left, the work is aborted.
   * @throws what the work throws, or the signal's reason
   */
  join(key: string, who: PullProgress, work: (shared: PullProgress) => Promise<T>): Promise<T>
}

interface Flight<T> {
  readonly result: Promise<T>
  readonly aborting: AbortController
  readonly passengers: Set<PullProgress>
  message: string
}

/** None under way. */
export function openFlights<T>(): Flights<T> {
  const flights = new Map<string, Flight<T>>()
  const start = (key: string, work: (shared: PullProgress) => Promise<T>): Flight<T> => {
    const aborting = new AbortController()
    const passengers = new Set<PullProgress>()
    const onProgress = (message: string) => {
      flight.message = message
      for (const { onProgress: tell } of passengers) tell(message)
    }
    const result = Promise.resolve().then(() => work({ signal: aborting.signal, onProgress }))
    const flight: Flight<T> = { result, aborting, passengers, message: '' }
    flights.set(key, flight)
    const land = () => {
      if (flights.get(key) === flight) flights.delete(key)
    }
    result.then(land, land)
    return flight
  }
  const join: Flights<T>['join'] = async (key, who, work) => {
    who.signal.throwIfAborted()
    const flight = flights.get(key) ?? start(key, work)
    flight.passengers.add(who)
    if (flight.message !== '') who.onProgress(flight.message)
    const left = Promise.withResolvers<never>()
    const leave = () => left.reject(who.signal.reason)
    who.signal.addEventListener('abort', leave)
    try {
      return await Promise.race([flight.result, left.promise])
    } finally {
      who.signal.removeEventListener('abort', leave)
      flight.passengers.delete(who)
      if (flight.passengers.size === 0 && flights.get(key) === flight) {
        flights.delete(key)
        flight.aborting.abort()
      }
    }
  }
  return { join }
}
