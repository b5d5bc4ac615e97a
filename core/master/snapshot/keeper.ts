import { type NetworkName, type NodeName, type TaskId } from '../../model/ids.ts'
import {
  type ClusterSnapshot,
  type Network,
  type Node,
  type RunningTask,
  type SnapshotDelta,
  type VipAddress,
} from '../../model/snapshot.ts'
import { type Policy } from '../../model/policy.ts'
import { isEmptyDelta } from '../../model/delta.ts'
import { type Editor, openEditor } from './editor.ts'
import { emptyDelta, openHistory } from './history.ts'
import { type Mailbox, type MailboxOptions, openMailbox } from './mailbox.ts'
import { type Versions } from './versions.ts'

/** The cluster's one snapshot: edited here, published as versions, sent to subscribers. */
export interface SnapshotKeeper {
  readonly networks: Editor<NetworkName, Network>
  readonly nodes: Editor<NodeName, Node>
  readonly tasks: Editor<TaskId, RunningTask>
  readonly vips: Editor<string, VipAddress>
  readonly policies: Editor<string, Policy>
  /** The published version. */
  version(): number
  /** A view, not a copy: it goes on changing. */
  view(): ClusterSnapshot
  /** Publishes what was edited, if anything was, without waiting for the end of the turn. Returns the version. */
  flush(): number
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

/** What a keeper begins with. */
export interface KeeperOptions {
  readonly versions: Versions
  /** Calls `task` soon, once: all edits until then become one version. */
  readonly soon: (task: () => void) => void
}

/** Opens a keeper without entities at the versions' present one. */
export function openKeeper({ versions, soon }: KeeperOptions): SnapshotKeeper {
  const mailboxes = new Set<Mailbox>()
  const listeners = new Set<(delta: SnapshotDelta) => void>()
  const history = openHistory(versions.current())
  let dirty = false
  const edited = () => {
    if (dirty) return
    dirty = true
    soon(flush)
  }
  const networks = openEditor<NetworkName, Network>([], edited)
  const nodes = openEditor<NodeName, Node>([], edited)
  const tasks = openEditor<TaskId, RunningTask>([], edited)
  const vips = openEditor<string, VipAddress>([], edited)
  const policies = openEditor<string, Policy>([], edited)
  const tables = { networks, nodes, tasks, vips, policies }
  const flush = () => {
    if (!dirty) return versions.current()
    const version = versions.next()
    if (version === undefined) return versions.current() // stays dirty; flushed again when versions are available
    dirty = false
    const changes = { networks: networks.take(), nodes: nodes.take(), tasks: tasks.take(), vips: vips.take() }
    const delta = { version, ...changes, policies: policies.take() }
    history.push(delta)
    for (const mailbox of mailboxes) mailbox.post({ kind: 'delta', delta })
    for (const listener of listeners) listener(delta)
    return version
  }
  const snapshotSize = () => Object.values(tables).reduce((sum, { values }) => sum + values.size, 0)
  const subscribe = (resumeAfter: number, send: MailboxOptions['send']): Subscription => {
    const version = flush()
    const missed = resumeAfter === 0 ? undefined : history.since(resumeAfter)
    const mailbox = openMailbox({ send, snapshotSize })
    if (missed === undefined) mailbox.post({ kind: 'full' })
    // Also an empty one: the node learns at once that it has all.
    else mailbox.post({ kind: 'delta', delta: isEmptyDelta(missed) ? emptyDelta(version) : missed })
    mailboxes.add(mailbox)
    return { drained: () => mailbox.drained(), close: () => mailboxes.delete(mailbox) }
  }
  return {
    ...tables,
    version: () => versions.current(),
    view: () => ({
      version: versions.current(),
      networks: networks.values,
      nodes: nodes.values,
      tasks: tasks.values,
      vips: vips.values,
      policies: policies.values,
    }),
    flush,
    subscribe,
    onPublish: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    subscribers: () => mailboxes.size,
  }
}
