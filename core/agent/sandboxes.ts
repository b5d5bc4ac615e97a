import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** How long a sandbox outlives its task. Source: mesos, gc_delay. */
const keepMs = 7 * 24 * 3_600_000

/** Most sandboxes that are kept, whatever their age. */
const keepCount = 500

/** A sandbox whose task has ended. */
export interface OldSandbox {
  readonly name: string
  readonly changedAtMs: number
}

/** Those that may go: over a week old, or beyond the newest 500. */
export function expiredSandboxes(sandboxes: readonly OldSandbox[], nowMs: number): readonly string[] {
  return sandboxes
    .toSorted((a, b) => b.changedAtMs - a.changedAtMs)
    .filter(({ changedAtMs }, index) => index >= keepCount || nowMs - changedAtMs > keepMs)
    .map(({ name }) => name)
}

/** Removes expired sandboxes, except those in use. */
export function removeOldSandboxes(dir: string, inUse: ReadonlySet<string>, nowMs: number): void {
  if (!existsSync(dir)) return
  const unused = readdirSync(dir).filter((name) => !inUse.has(name))
  const sandboxes = unused.map((name) => ({ name, changedAtMs: statSync(join(dir, name)).mtimeMs }))
  for (const name of expiredSandboxes(sandboxes, nowMs)) rmSync(join(dir, name), { recursive: true, force: true })
}
