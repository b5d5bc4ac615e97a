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

/** Writes the lists into the folder, each atomically, and removes lists of networks that are gone. The folder is ours. */
export function writeConflists(folder: string, conflists: readonly Conflist[]): void {
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
