import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { errorMessage } from '../../base/errors.ts'
import { dcosNetHttpPort } from '../../../networking/protocol.ts'
import { type NodeVipStatus } from '../../../networking/node/vip-status.ts'
import { type GlobalOptions } from '../program.ts'
import { readClusterRecord } from '../up/record.ts'
import { askArgv } from './dns-host.ts'
import { requireRoot } from './privilege.ts'
import { readSnapshot } from './snapshot.ts'
import { targetApi, targetLayout } from './target.ts'

/** What the nodes said, and which did not answer. */
export interface NodeStatuses {
  readonly statuses: readonly NodeVipStatus[]
  readonly silent: readonly { readonly node: string; readonly reason: string }[]
}

const path = '/weft/v1/vips'
/** Longest wait for one node. */
const timeoutMs = 15_000
/** The answer of a node with more than 10,000 VIPs. */
const maxBuffer = 1 << 28

/**
 * Asks every node daemon at once: of a local cluster in their namespaces, which takes root; of another one at the address
 * of each node on the underlay, where daemons that were started with `--http loopback` don't answer.
 */
export async function readNodeStatuses(globals: GlobalOptions): Promise<NodeStatuses> {
  const nodes = isLocal(globals) ? localNodes(globals) : await remoteNodes(globals)
  const answers = await Promise.allSettled(nodes.map(({ ask }) => ask()))
  const statuses: NodeVipStatus[] = []
  const silent: { node: string; reason: string }[] = []
  for (const [i, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') statuses.push(JSON.parse(answer.value))
    else silent.push({ node: nodes[i]?.name ?? '', reason: errorMessage(answer.reason).trim() })
  }
  return { statuses, silent }
}

interface AskedNode {
  readonly name: string
  readonly ask: () => Promise<string>
}

function isLocal({ master, cluster }: GlobalOptions): boolean {
  return master === undefined && process.env['WEFT_MASTER'] === undefined && readClusterRecord(cluster) !== undefined
}

function localNodes(globals: GlobalOptions): readonly AskedNode[] {
  requireRoot('vip')
  const run = promisify(execFile)
  return targetLayout(globals).hosts.map((host) => ({
    name: host.name,
    ask: async () => {
      const words = [...askArgv(host, 'http', [String(dcosNetHttpPort), path])]
      return (await run('nsenter', words, { maxBuffer, timeout: timeoutMs })).stdout
    },
  }))
}

async function remoteNodes(globals: GlobalOptions): Promise<readonly AskedNode[]> {
  const { nodes } = await readSnapshot(targetApi(globals))
  return [...nodes.values()].map(({ name, underlay }) => ({
    name,
    ask: async () => {
      const host = underlay.includes(':') ? `[${underlay}]` : underlay
      const response = await fetch(`http://${host}:${dcosNetHttpPort}${path}`, {
        signal: AbortSignal.timeout(timeoutMs),
      })
      if (!response.ok) throw new Error(`answered ${response.status}`)
      return response.text()
    },
  }))
}
