import { type AgentReport } from '../api/messages.ts'

/**
 * The connection to the master, as the agent needs it. What is sent while there is none is dropped: updates are retried,
 * and a registration carries everything.
 */
export interface MasterSession {
  /** False when it was dropped. */
  send(report: AgentReport): boolean
}
