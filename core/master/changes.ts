import { type AgentId, type FrameworkId } from '../model/ids.ts'
import { type MasterTask } from './tasks/state.ts'

/** What has just changed in the master, told after it did. */
export type MasterChange =
  /** Absent `before`: it is new. Absent `after`: it is forgotten, its end was told before or is in `before` now. */
  | { readonly kind: 'task'; readonly before?: MasterTask; readonly after?: MasterTask }
  | { readonly kind: 'agent'; readonly agentId: AgentId; readonly what: 'added' | 'updated' | 'removed' }
  | { readonly kind: 'framework'; readonly frameworkId: FrameworkId; readonly what: 'added' | 'updated' | 'removed' }

/** Who follows the master's changes as they happen: event streams of operators. */
export interface Changes {
  tell(change: MasterChange): void
  /** @returns how to stop */
  watch(listener: (change: MasterChange) => void): () => void
}

/** Opens it without listeners: telling costs nothing then. */
export function openChanges(): Changes {
  const listeners = new Set<(change: MasterChange) => void>()
  return {
    tell: (change) => {
      for (const listener of listeners) listener(change)
    },
    watch: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}
