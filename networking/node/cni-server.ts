import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { cniVersionOf } from '../../cni-plugins/cni/request.ts'
import { cniCodes, formatCniError } from '../../cni-plugins/cni/errors.ts'
import { AppError, errorMessage, hasCode } from '../../core/base/errors.ts'
import { type Logger } from '../../core/base/log.ts'
import { drainDelQueue } from './cni-queue.ts'
import {
  type CniAnswer,
  type CniCall,
  decodeCall,
  encodeAnswer,
  frameHeaderBytes,
  frameLimitBytes,
} from './cni-frame.ts'

/** Answers a call. It throws only what nobody foresaw. */
export type CniHandler = (call: CniCall, options: { readonly signal: AbortSignal }) => Promise<CniAnswer>

/** The plugin's way to the node daemon. */
export interface CniServer {
  /** Takes no new call, lets those under way end, then resolves. */
  close(): Promise<void>
}

/** Where to listen, and what to do. */
export interface CniServerOptions {
  readonly socketPath: string
  readonly handler: CniHandler
  readonly log: Logger
  /** Longest wait for the rest of a request. */
  readonly idleTimeoutMs?: number
}

const maxConnections = 1024

/**
 * Listens on a socket that only its owner may use. What an ended daemon left there is replaced. Performs what is in the
 * queue of DELs before it resolves; the caller should also have done so before: an ADD may come at once.
 * @throws ERR_CNI_SERVER_RUNNING when another daemon answers there; ERR_CNI_SERVER when it cannot listen
 */
export async function openCniServer(options: CniServerOptions): Promise<CniServer> {
  const { socketPath } = options
  const stop = new AbortController()
  const connections = new Set<Promise<void>>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const served = serve(socket, options, stop.signal).finally(() => connections.delete(served))
    connections.add(served)
  })
  server.maxConnections = maxConnections
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o700 })
  await removeStale(socketPath)
  await listen(server, socketPath)
  server.on('error', (error) => options.log.error({ error: error.message }, 'CNI socket failed'))
  // A client that found no socket keeps its DEL in the queue, then tries the socket again. Read before listening only,
  // the queue could get one in between, and keep it until the next start.
  await drainDelQueue(options, { signal: stop.signal }).catch((error) => {
    options.log.warn({ error: errorMessage(error) }, 'queue of DELs not read')
  })
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      stop.abort()
      await Promise.allSettled(connections)
      await closed
    },
  }
}

/** Never rejects: whatever a client sends, the others must be served. */
async function serve(socket: Socket, options: CniServerOptions, stopped: AbortSignal): Promise<void> {
  const { log, handler, idleTimeoutMs = 10_000 } = options
  socket.on('error', (error) => log.debug({ error: error.message }, 'CNI client gone'))
  socket.setTimeout(idleTimeoutMs, () => socket.destroy())
  try {
    const content = await readFrame(socket, stopped)
    if (content === undefined) return
    socket.setTimeout(0)
    const answer = await answerTo(content, { handler, log })
    if (socket.writable) await new Promise<void>((resolve) => socket.end(encodeAnswer(answer), () => resolve()))
  } finally {
    socket.destroy()
  }
}

async function answerTo(content: Buffer | 'too-long', { handler, log }: Pick<CniServerOptions, 'handler' | 'log'>) {
  if (content === 'too-long') return errorAnswer(cniCodes.decode, `a request has at most ${frameLimitBytes} octets`)
  let call: CniCall
  try {
    call = decodeCall(content)
  } catch (error) {
    return errorAnswer(cniCodes.decode, errorMessage(error))
  }
  try {
    return await handler(call, { signal: new AbortController().signal })
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'CNI call failed unexpectedly')
    return errorAnswer(cniCodes.internal, errorMessage(error), cniVersionOf(call.stdin))
  }
}

function errorAnswer(code: number, msg: string, version?: string): CniAnswer {
  return { exitCode: 1, stdout: formatCniError({ code, msg }, version) }
}

/** @returns undefined when the client went away, was too slow, or the server stops before the request is whole */
function readFrame(socket: Socket, stopped: AbortSignal): Promise<Buffer | 'too-long' | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const finish = (frame: Buffer | 'too-long' | undefined) => {
      socket.pause()
      stopped.removeEventListener('abort', give)
      resolve(frame)
    }
    const give = () => finish(undefined)
    stopped.addEventListener('abort', give)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size < frameHeaderBytes) return
      const first = chunks[0]?.length ?? 0
      const head = first >= frameHeaderBytes ? chunks[0] : Buffer.concat(chunks)
      const length = head?.readUInt32BE(0) ?? 0
      if (length > frameLimitBytes) finish('too-long')
      else if (size >= frameHeaderBytes + length) {
        finish(Buffer.concat(chunks).subarray(frameHeaderBytes, frameHeaderBytes + length))
      }
    })
    socket.once('end', give)
    socket.once('close', give)
    if (stopped.aborted) give()
  })
}

function listen(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) => {
      reject(new AppError('ERR_CNI_SERVER', `cannot listen on ${socketPath}: ${cause.message}`, { cause }))
    }
    server.once('error', failed)
    // The socket is bound within this call: no moment passes in which others may use it.
    const mask = process.umask(0o177)
    try {
      server.listen(socketPath, () => {
        server.off('error', failed)
        chmodSync(socketPath, 0o600)
        resolve()
      })
    } finally {
      process.umask(mask)
    }
  })
}

async function removeStale(socketPath: string): Promise<void> {
  try {
    if (!lstatSync(socketPath).isSocket()) {
      throw new AppError('ERR_CNI_SERVER', `${socketPath} is no socket: remove it, or choose another path`)
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return
    throw error
  }
  if (await answers(socketPath)) {
    throw new AppError('ERR_CNI_SERVER_RUNNING', `another node daemon serves ${socketPath}: stop it first`)
  }
  unlinkSync(socketPath)
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
