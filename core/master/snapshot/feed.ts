import { isEmptyDelta } from '../../model/delta.ts'
import { type SnapshotDelta } from '../../model/snapshot.ts'
import { emptyDelta, openHistory } from './history.ts'
import { type Mailbox, type MailboxOptions, openMailbox } from './mailbox.ts'

/** Versions as they come, sent to subscribers: a leader's own, or those that a standby gets from the leader. */
export interface SnapshotFeed {
  /** Sends it to all and remembers it for those who resume. */
  publish(delta: SnapshotDelta): void
  /** Begins with what leads from `resumeAfter` to now. */
  subscribe(resumeAfter: number, send: MailboxOptions['send']): Subscription
  /** Calls after each new version; the returned function ends it. */
  onPublish(listener: (delta: SnapshotDelta) => void): () => void
  subscribers(): number
}

/** One node's stream. */
export interface Subscription {
  drained(): void
  close(): void
}

/** Opens a feed whose last version was `version`; `snapshotSize`: how many entities the snapshot has now. */
export function openFeed(version: number, { snapshotSize }: Pick<MailboxOptions, 'snapshotSize'>): SnapshotFeed {
  const mailboxes = new Set<Mailbox>()
  const listeners = new Set<(delta: SnapshotDelta) => void>()
  const history = openHistory(version)
  let current = version
  return {
    publish: (delta) => {
      current = delta.version
      history.push(delta)
      for (const mailbox of mailboxes) mailbox.post({ kind: 'delta', delta })
      for (const listener of listeners) listener(delta)
    },
    subscribe: (resumeAfter, send) => {
      const missed = resumeAfter === 0 ? undefined : history.since(resumeAfter)
      const mailbox = openMailbox({ send, snapshotSize })
      if (missed === undefined) mailbox.post({ kind: 'full' })
      // Also an empty one: the node learns at once that it has all.
      else mailbox.post({ kind: 'delta', delta: isEmptyDelta(missed) ? emptyDelta(current) : missed })
      mailboxes.add(mailbox)
      return { drained: () => mailbox.drained(), close: () => mailboxes.delete(mailbox) }
    },
    onPublish: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    subscribers: () => mailboxes.size,
  }
}
