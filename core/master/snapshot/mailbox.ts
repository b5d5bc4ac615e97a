import { mergeDeltas } from '../../model/delta.ts'
import { type SnapshotDelta } from '../../model/snapshot.ts'
import { deltaSize } from './history.ts'

/** What a subscriber gets next. */
export type SnapshotMail = { readonly kind: 'full' } | { readonly kind: 'delta'; readonly delta: SnapshotDelta }

/**
 * What waits for one subscriber. However slow it reads, at most one delta waits; one that would name more entities than the
 * snapshot has becomes "all of it", so that the memory is bounded.
 */
export interface Mailbox {
  /** `mail` is sent now, or joins what waits. */
  post(mail: SnapshotMail): void
  /** The subscriber takes more. */
  drained(): void
}

/** What a mailbox needs of its subscriber. */
export interface MailboxOptions {
  /** False: it went out, but no more before `drained`. */
  readonly send: (mail: SnapshotMail) => boolean
  /** How many entities the snapshot has now. */
  readonly snapshotSize: () => number
}

/** Below this many entities a delta is never worth a full snapshot. */
const smallDelta = 1_000

/** Opens an empty mailbox of a subscriber that takes mail. */
export function openMailbox({ send, snapshotSize }: MailboxOptions): Mailbox {
  let waiting: SnapshotMail | undefined
  let ready = true
  const join = (mail: SnapshotMail): SnapshotMail => {
    if (waiting?.kind === 'full' || mail.kind === 'full') return { kind: 'full' }
    const delta = waiting === undefined ? mail.delta : mergeDeltas(waiting.delta, mail.delta)
    return deltaSize(delta) > Math.max(smallDelta, snapshotSize()) ? { kind: 'full' } : { kind: 'delta', delta }
  }
  return {
    post: (mail) => {
      if (ready) ready = send(mail)
      else waiting = join(mail)
    },
    drained: () => {
      const mail = waiting
      waiting = undefined
      ready = mail === undefined || send(mail)
    },
  }
}
