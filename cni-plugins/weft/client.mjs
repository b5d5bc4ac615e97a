/**
 * The CNI plugin "weft" where there is no C compiler: does what weft-cni.c does, 50 times slower. Runs on Node 20 and
 * newer, without packages. See weft-cni.c for the why of each step.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { createConnection } from 'node:net'
import { basename, dirname, join } from 'node:path'

const frameLimit = 1 << 20
const answerTimeoutMs = 60_000
const codes = { environment: 4, io: 5, decode: 6, tryAgain: 11, unavailable: 50 }
const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

/** Standard input; undefined when it is too long. */
function readInput(limit) {
  const chunks = []
  let size = 0
  const chunk = Buffer.alloc(65536)
  for (;;) {
    let got
    try {
      got = readSync(0, chunk)
    } catch (error) {
      if (error.code === 'EAGAIN') continue
      if (error.code === 'EOF' || error.code === 'EBADF') break
      throw error
    }
    if (got === 0) break
    size += got
    if (size > limit) return undefined
    chunks.push(Buffer.from(chunk.subarray(0, got)))
  }
  return Buffer.concat(chunks)
}

/** The few things the client itself needs; the daemon says what is wrong with the rest. */
function scanConfig(input, env) {
  let config
  try {
    config = JSON.parse(input.toString())
  } catch {
    config = {}
  }
  const text = (value, limit) =>
    typeof value === 'string' && value !== '' && value.length <= limit ? value : undefined
  return {
    version: text(config?.cniVersion, 32) ?? '1.1.0',
    socketPath:
      text(config?.socket, 4095) ??
      text(config?.ipam?.socket, 4095) ??
      text(env.WEFT_CNI_SOCKET, 4095) ??
      '/run/weft/net.sock',
  }
}

function encodeRequest(env, input, program) {
  const block = Buffer.from(
    Object.entries(env)
      .filter(([name]) => name.startsWith('CNI_') || (name.startsWith('WEFT_') && name !== 'WEFT_CNI_PLUGIN'))
      .concat(program === 'weft-ipam' ? [['WEFT_CNI_PLUGIN', program]] : [])
      .map(([name, value]) => `${name}=${value}\0`)
      .join(''),
  )
  const head = Buffer.alloc(8)
  head.writeUInt32BE(4 + block.length + input.length, 0)
  head.writeUInt32BE(block.length, 4)
  return Buffer.concat([head, block, input])
}

/** The daemon's answer. Rejects when there is no whole one. */
function askDaemon(socketPath, frame) {
  return new Promise((resolve, reject) => {
    const chunks = []
    const socket = createConnection(socketPath)
    const fail = (error) => {
      socket.destroy()
      reject(error)
    }
    socket.setTimeout(answerTimeoutMs, () => fail(new Error('no answer in time')))
    // EPIPE: a daemon that refuses the frame may close before it is all sent; its answer says why.
    socket.on('error', (error) => (error.code === 'EPIPE' ? undefined : fail(error)))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('close', () => {
      const bytes = Buffer.concat(chunks)
      const length = bytes.length >= 5 ? bytes.readUInt32BE(0) : -1
      if (length < 1 || bytes.length < 4 + length) reject(new Error('Connection reset by peer'))
      else resolve({ exitCode: bytes[4], stdout: bytes.subarray(5, 4 + length) })
    })
    socket.on('connect', () => socket.write(frame))
  })
}

function queueRequest(socketPath, frame) {
  const directory = join(dirname(socketPath), 'cni-del-queue')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // Names sort by time: seconds and nanoseconds, as the C client writes them.
  const now = Date.now()
  const time = `${String(Math.floor(now / 1000)).padStart(20, '0')}${String((now % 1000) * 1e6).padStart(9, '0')}`
  const path = join(directory, `${time}-${process.pid}.del`)
  const temporary = join(directory, `.new-${process.pid}`)
  try {
    writeDurably(temporary, frame.subarray(4))
    renameSync(temporary, path)
    syncDirectory(directory)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
  return path
}

function writeDurably(path, bytes) {
  const fd = openSync(path, 'w', 0o600)
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function syncDirectory(path) {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

async function deleteLater({ socketPath, version }, frame, reason) {
  let path
  try {
    path = queueRequest(socketPath, frame)
  } catch (error) {
    const msg = 'the Weft node daemon does not answer, and DEL cannot be kept for it: start `weft net`'
    return failure(version, { code: codes.io, msg, details: `queue: ${error.message}; daemon: ${reason}` })
  }
  try {
    // The daemon may have started, and read the queue, between the two.
    const answer = await askDaemon(socketPath, frame)
    unlinkSync(path)
    return answer
  } catch {
    return { exitCode: 0, stdout: '' }
  }
}

function failure(cniVersion, body) {
  return { exitCode: 1, stdout: `${JSON.stringify({ cniVersion, ...body })}\n` }
}

async function main(env, program) {
  const command = env.CNI_COMMAND ?? ''
  const missing = 'CNI_COMMAND is missing: this is a CNI plugin, to be started by a container runtime'
  if (command === '') return failure('1.1.0', { code: codes.environment, msg: missing })
  const input = readInput(frameLimit) ?? undefined
  const frame = encodeRequest(env, input ?? Buffer.alloc(0), program)
  const config = scanConfig(input ?? Buffer.alloc(0), env)
  if (command === 'VERSION') {
    const stdout = `${JSON.stringify({ cniVersion: config.version, supportedVersions: versions })}\n`
    return { exitCode: 0, stdout }
  }
  if (input === undefined || frame.length - 4 > frameLimit) {
    const msg = 'environment and configuration together have more than 1 MiB'
    return failure(config.version, { code: codes.decode, msg })
  }
  try {
    return await askDaemon(config.socketPath, frame)
  } catch (error) {
    if (command === 'DEL') return deleteLater(config, frame, error.message)
    const start = 'the Weft node daemon does not answer: start `weft net` on this machine'
    const status = { code: codes.unavailable, msg: start }
    const again = { code: codes.tryAgain, msg: `${start}, then try again` }
    const details = `${config.socketPath}: ${error.message}`
    return failure(config.version, { ...(command === 'STATUS' ? status : again), details })
  }
}

const { exitCode, stdout } = await main(process.env, basename(process.argv[2] ?? ''))
process.exitCode = exitCode
process.stdout.write(stdout)
