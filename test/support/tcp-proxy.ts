import { connect, createServer, type Socket } from 'node:net'

/** A path between a client and a server that a test can cut. */
export interface TcpProxy {
  readonly port: number
  /** Silence: nothing passes any more and nobody is told, as when packets are dropped. */
  cut(): void
  /** Connections that were cut stay dead; new ones pass again. */
  mend(): void
  close(): Promise<void>
}

/** Listens on a free port of loopback and passes everything on to `target`. */
export async function openTcpProxy(target: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let silent = false
  const server = createServer((client) => {
    const upstream = silent ? undefined : connect(target, '127.0.0.1')
    for (const socket of [client, upstream]) {
      if (socket === undefined) continue
      sockets.add(socket)
      socket.on('error', () => undefined) // the other side learns by its own end
      socket.on('close', () => sockets.delete(socket))
    }
    if (upstream === undefined) return
    client.pipe(upstream)
    upstream.pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const cut = () => {
    silent = true
    for (const socket of sockets) socket.unpipe().pause()
  }
  const close = () =>
    new Promise<void>((resolve) => {
      for (const socket of sockets) socket.destroy()
      server.close(() => resolve())
    })
  const mend = () => {
    silent = false
  }
  return { port: typeof address === 'object' && address !== null ? address.port : 0, cut, mend, close }
}
