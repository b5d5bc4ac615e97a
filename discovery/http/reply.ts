/** A request, taken apart. */
export interface Request {
  /** Between the slashes, decoded. */
  readonly path: readonly string[]
  readonly query: URLSearchParams
  readonly header: (lowerCaseName: string) => string | undefined
}

/** What goes back. A body of many pieces is sent as fast as the client reads. */
export interface Reply {
  readonly status: number
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Iterable<string>
}

/** `undefined`: no such path. */
export type Route = (request: Request) => Reply | undefined

/** A {@link Route} that may have to ask somebody first. */
export type AsyncRoute = (request: Request) => Reply | undefined | Promise<Reply | undefined>

/** JSON with status 200. */
export function jsonReply(value: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status: 200, type: 'application/json', headers, body: JSON.stringify(value) }
}

/** A JSON list, made while it is sent. */
export function jsonList(items: Iterable<unknown>): Reply {
  return { status: 200, type: 'application/json', body: jsonArray(items) }
}

/** Pieces of a JSON array, many items in each: a piece costs more than an item. */
export function* jsonArray(items: Iterable<unknown>): Generator<string> {
  let piece = '['
  let first = true
  for (const item of items) {
    piece += `${first ? '' : ',\n'}${JSON.stringify(item)}`
    first = false
    if (piece.length > 1 << 15) {
      yield piece
      piece = ''
    }
  }
  yield `${piece}]`
}

/** As {@link firstRoute}, of routes that may take their time. */
export function firstOfRoutes(...routes: readonly AsyncRoute[]): AsyncRoute {
  return async (request) => {
    for (const route of routes) {
      const reply = await route(request)
      if (reply !== undefined) return reply
    }
    return undefined
  }
}

/** Asks the routes in turn. */
export function firstRoute(...routes: readonly Route[]): Route {
  return (request) => {
    for (const route of routes) {
      const reply = route(request)
      if (reply !== undefined) return reply
    }
    return undefined
  }
}
