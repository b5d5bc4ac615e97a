import { type FrameworkId, type NetworkName, type NodeName, type TaskId } from '../../model/ids.ts'
import {
  type ClusterSnapshot,
  type FrameworkPlace,
  type Network,
  type Node,
  type RunningTask,
  type VipAddress,
} from '../../model/snapshot.ts'
import { changedFrameworks } from '../../model/delta.ts'
import { type Policy } from '../../model/policy.ts'
import { type Editor, openEditor } from './editor.ts'
import { openFeed, type SnapshotFeed } from './feed.ts'
import { type Versions } from './versions.ts'

/** The cluster's one snapshot: edited here, published as versions, sent to subscribers. */
export interface SnapshotKeeper extends Omit<SnapshotFeed, 'publish'> {
  readonly networks: Editor<NetworkName, Network>
  readonly nodes: Editor<NodeName, Node>
  readonly tasks: Editor<TaskId, RunningTask>
  readonly vips: Editor<string, VipAddress>
  readonly policies: Editor<string, Policy>
  readonly frameworks: Editor<FrameworkId, FrameworkPlace>
  /** The published version. */
  version(): number
  /** A view, not a copy: it goes on changing. */
  view(): ClusterSnapshot
  /** Publishes what was edited, if anything was, without waiting for the end of the turn. Returns the version. */
  flush(): number
}

/** What a keeper begins with. */
export interface KeeperOptions {
  readonly versions: Versions
  /** Calls `task` soon, once: all edits until then become one version. */
  readonly soon: (task: () => void) => void
}

/** Opens a keeper without entities at the versions' present one. */
export function openKeeper({ versions, soon }: KeeperOptions): SnapshotKeeper {
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
  const frameworks = openEditor<FrameworkId, FrameworkPlace>([], edited)
  const tables = { networks, nodes, tasks, vips, policies, frameworks }
  const flush = () => {
    if (!dirty) return versions.current()
    const version = versions.next()
    if (version === undefined) return versions.current() // stays dirty; flushed again when versions are available
    dirty = false
    const changes = { networks: networks.take(), nodes: nodes.take(), tasks: tasks.take(), vips: vips.take() }
    feed.publish({ version, ...changes, policies: policies.take(), ...changedFrameworks(frameworks.take()) })
    return version
  }
  const snapshotSize = () => Object.values(tables).reduce((sum, { values }) => sum + values.size, 0)
  const feed = openFeed(versions.current(), { snapshotSize })
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
      ...(frameworks.values.size === 0 ? {} : { frameworks: frameworks.values }),
    }),
    flush,
    subscribe: (resumeAfter, send) => {
      flush()
      return feed.subscribe(resumeAfter, send)
    },
    onPublish: feed.onPublish,
    subscribers: feed.subscribers,
  }
}
