// `stream.ts ADDRESS PORT PER_SECOND`: opens connections at that rate, each for one question and answer, and prints a line of
// JSON for each that failed: {"failedAtMs"}, in milliseconds since the epoch; and {"answered"} each second.
import { connect } from 'node:net'

const [host = '', port = '', perSecond = '200'] = process.argv.slice(2)
const limitMs = 3_000
const nowMs = () => performance.timeOrigin + performance.now()
const startedMs = nowMs()
let begun = 0
let answered = 0

function ask(): void {
  let state: 'open' | 'answered' | 'failed' = 'open'
  const socket = connect({ host, port: Number(port) }, () => socket.write('GET / HTTP/1.0\r\n\r\n'))
  const end = (next: 'answered' | 'failed') => {
    if (state !== 'open') return
    state = next
    socket.destroy()
    if (next === 'answered') answered++
    else process.stdout.write(`${JSON.stringify({ failedAtMs: nowMs() })}\n`)
  }
  socket.setTimeout(limitMs, () => end('failed'))
  socket.on('data', () => end('answered'))
  socket.on('error', () => end('failed'))
  socket.on('close', () => end('failed'))
}

setInterval(() => {
  const due = Math.floor(((nowMs() - startedMs) * Number(perSecond)) / 1000)
  for (; begun < due; begun++) ask()
}, 2)
setInterval(() => process.stdout.write(`${JSON.stringify({ answered })}\n`), 1000)
