import { spawn } from 'node:child_process'
import { mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { runDirectory } from '../up/layout.ts'

/** What a supervisor in the background tells the command that started it, until it is ready. */
export interface DetachMessage {
  readonly progress?: string
  readonly report?: string
  readonly ready?: boolean
}

const mark = 'WEFT_DETACHED'

/** True in the supervisor that {@link detach} started. */
export function isDetachedChild(): boolean {
  return process.env[mark] !== undefined
}

/** Tells the command that waits; nobody listens once it has left. */
export function tellParent(message: DetachMessage): void {
  if (!isDetachedChild() || process.send === undefined || !process.connected) return
  process.send(message, undefined, {}, () => undefined) // the parent may be gone: nothing is lost then
  if (message.ready) process.disconnect()
}

/** Starts the same command in a session of its own, shows its progress, and returns when it is ready. */
export async function detach(argv: readonly string[]): Promise<void> {
  mkdirSync(runDirectory, { recursive: true, mode: 0o700 })
  const log = openSync(join(runDirectory, 'supervisor.log'), 'a')
  const [node = process.execPath, ...args] = argv
  const child = spawn(node, args, {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: { ...process.env, [mark]: '1' },
  })
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code) => resolve(code ?? 1))
    child.on('message', ({ progress, report, ready }: DetachMessage) => {
      if (progress !== undefined) process.stderr.write(`${progress}\n`)
      if (report !== undefined) process.stdout.write(`${report}\n`)
      if (ready) resolve(0)
    })
  })
  if (process.exitCode !== 0)
    process.stderr.write(`weft: it did not start; see ${join(runDirectory, 'supervisor.log')}\n`)
  if (child.connected) child.disconnect()
  child.unref()
}
