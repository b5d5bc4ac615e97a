import { type GlobalOptions } from '../program.ts'
import { print } from '../output.ts'
import { isAlive, readClusterRecord, signalProcess } from '../up/record.ts'
import { sweepCluster, waitUntilGone } from '../up/sweep.ts'
import { requireRoot } from './privilege.ts'

/** How long the supervisor may take to remove everything itself. */
const politeLimitMs = 20_000

/** `weft down`: asks the supervisor to end; where it can't, or has died, removes everything itself. */
export async function down(globals: GlobalOptions): Promise<void> {
  requireRoot('down')
  const record = readClusterRecord(globals.cluster)
  if (record !== undefined && isAlive(record.supervisor)) {
    signalProcess(record.supervisor, 'SIGTERM')
    if (!(await waitUntilGone([record.supervisor], politeLimitMs))) signalProcess(record.supervisor, 'SIGKILL')
  }
  await sweepCluster(globals.cluster)
  const removed = record !== undefined
  print({ cluster: globals.cluster, removed }, () => text(globals.cluster, removed), globals)
}

function text(cluster: string, removed: boolean): string {
  return removed ? `cluster "${cluster}" is removed` : `there is no cluster "${cluster}"; nothing to remove`
}
