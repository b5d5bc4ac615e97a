import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError, errorMessage, hasCode } from '../base/errors.ts'
import { type AgentId, parseAgentId } from '../model/ids.ts'

/** What an agent remembers of itself over restarts. */
export interface AgentIdentity {
  /** Absent before the first registration. */
  readonly agentId?: AgentId
  /** Highest term of a leader that was ever heard: lower ones are refused. */
  readonly highestTerm: number
}

/** An identity on disk. */
export interface IdentityFile {
  current(): AgentIdentity
  /**
   * Durable when it returns. Synchronous: it happens once a leader, and nothing of that leader may be acted on before.
   * @throws ERR_AGENT_IDENTITY
   */
  update(change: Partial<AgentIdentity>): void
}

/** Reads `path`; a missing file is a new agent. @throws ERR_AGENT_IDENTITY when it is damaged */
export function openIdentity(path: string): IdentityFile {
  let identity = readIdentity(path)
  return {
    current: () => identity,
    update: (change) => {
      const next = { ...identity, ...change }
      if (next.agentId === identity.agentId && next.highestTerm === identity.highestTerm) return
      writeDurably(path, `${JSON.stringify(next)}\n`)
      identity = next
    },
  }
}

/** Replaces a file so that after a crash either the old or the new text is there. @throws ERR_AGENT_IDENTITY */
export function writeDurably(path: string, text: string): void {
  const temporary = `${path}.new`
  try {
    withDescriptor(temporary, 'w', (fd) => {
      writeSync(fd, text)
      fsyncSync(fd)
    })
    renameSync(temporary, path)
    withDescriptor(dirname(path), 'r', fsyncSync)
  } catch (error) {
    throw new AppError('ERR_AGENT_IDENTITY', `can't write ${path}: ${errorMessage(error)}`, { cause: error })
  }
}

function withDescriptor(path: string, flags: 'r' | 'w', action: (fd: number) => void): void {
  const fd = openSync(path, flags, 0o600)
  try {
    action(fd)
  } finally {
    closeSync(fd)
  }
}

function readIdentity(path: string): AgentIdentity {
  try {
    return parseIdentity(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { highestTerm: 0 }
    const advice = 'remove the state directory to start as a new agent'
    throw new AppError('ERR_AGENT_IDENTITY', `can't read ${path}: ${errorMessage(error)}; ${advice}`, { cause: error })
  }
}

function parseIdentity(value: unknown): AgentIdentity {
  if (typeof value !== 'object' || value === null || !('highestTerm' in value)) throw new Error('no highestTerm')
  const { highestTerm } = value
  if (typeof highestTerm !== 'number' || !Number.isSafeInteger(highestTerm)) throw new Error('bad highestTerm')
  if (!('agentId' in value) || typeof value.agentId !== 'string') return { highestTerm }
  return { agentId: parseAgentId(value.agentId), highestTerm }
}
