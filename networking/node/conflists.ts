import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatWeftConflist } from '../../cni-plugins/cni/conflist.ts'
import { type ClusterSnapshot } from '../../core/model/snapshot.ts'

/** Name and content of a network's CNI configuration list. */
export interface Conflist {
  readonly file: string
  readonly text: string
}

/** The configuration lists that runtimes on this node may use: one for each network (CNI SPEC 1.0, section 1). */
export function desiredConflists(snapshot: ClusterSnapshot, socket: string): readonly Conflist[] {
  return [...snapshot.networks.keys()].map((name) => ({
    file: `${name}.conflist`,
    text: formatWeftConflist(name, socket),
  }))
}

/**
 * Keeps the folder as the snapshot says: each list written atomically, lists of networks that are gone removed. The folder
 * is ours. Touched only when a network has changed: versions may come by the hundred in a second.
 */
export function openConflists(folder: string, socket: string): { keep(snapshot: ClusterSnapshot): void } {
  let kept: ClusterSnapshot['networks'] | undefined
  const keep = (snapshot: ClusterSnapshot) => {
    if (snapshot.networks === kept) return
    writeConflists(folder, desiredConflists(snapshot, socket))
    kept = snapshot.networks
  }
  return { keep }
}

function writeConflists(folder: string, conflists: readonly Conflist[]): void {
  mkdirSync(folder, { recursive: true })
  const wanted = new Set(conflists.map(({ file }) => file))
  for (const { file, text } of conflists) {
    writeFileSync(join(folder, `.${file}.new`), text)
    renameSync(join(folder, `.${file}.new`), join(folder, file))
  }
  for (const file of readdirSync(folder)) {
    if (file.endsWith('.conflist') && !wanted.has(file)) rmSync(join(folder, file), { force: true })
  }
}
