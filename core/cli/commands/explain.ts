import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { explain as explainPath } from '../../../networking/explain/explain.ts'
import { formatExplanation } from '../../../networking/explain/format.ts'
import { openLocalReader } from '../../../networking/explain/local-reader.ts'
import { type Explanation } from '../../../networking/explain/model.ts'
import { type NodeReader, type OpenReader } from '../../../networking/explain/reader.ts'
import { dnsAddress } from '../../../networking/protocol.ts'
import { AppError } from '../../base/errors.ts'
import { parseIp } from '../../base/ip.ts'
import { isRecord } from '../api.ts'
import { print } from '../output.ts'
import { type GlobalOptions } from '../program.ts'
import { type ClusterLayout, type HostLayout, netnsPath } from '../up/layout.ts'
import { requireRoot } from './privilege.ts'
import { targetApi, targetLayout } from './target.ts'
import { readSnapshot } from './snapshot.ts'

const asker = fileURLToPath(new URL('../dns-ask/main.ts', import.meta.url))

/** Longest that asking a name server may take: dns-ask itself gives up after 3 s. */
const askLimitMs = 10_000

/** `weft explain FROM TO`: exits with 1 when something is wrong. */
export async function explain(globals: GlobalOptions, from: string, to: string): Promise<void> {
  requireRoot('explain')
  const snapshot = await readSnapshot(targetApi(globals))
  const { signal } = new AbortController()
  const open = openLocalReaders(targetLayout(globals))
  const explanation = await explainPath({ from, to }, { snapshot, open }, { signal })
  print(explanation, (value: Explanation) => formatExplanation(value), globals)
  if (explanation.problem !== undefined) process.exitCode = 1
}

/** Readers of the simulated hosts of a local cluster. */
export function openLocalReaders({ hosts }: Pick<ClusterLayout, 'hosts'>): OpenReader {
  return async (node) => {
    const host = hosts.find(({ name }) => name === node)
    if (host === undefined) {
      throw new AppError(
        'ERR_EXPLAIN_NODE',
        `node "${node}" is no host of this local cluster: its kernel can't be read`,
      )
    }
    return openLocalReader({ node, netns: netnsPath(host.netns), resolve: resolveAt(host) })
  }
}

/** A process of its own inside the host's namespace: Node opens datagram sockets too late to do it by setns here. */
function resolveAt(host: HostLayout): NodeReader['resolve'] {
  return (name, type, { signal }) =>
    new Promise((resolve, reject) => {
      const node = [process.execPath, '--disable-warning=ExperimentalWarning', asker]
      const words = [`--net=${netnsPath(host.netns)}`, ...node, dnsAddress, name, type, 'udp', 'json']
      execFile('nsenter', words, { signal, timeout: askLimitMs }, (error, stdout, stderr) => {
        const body: unknown = stdout.trim() === '' ? undefined : JSON.parse(stdout)
        if (!isRecord(body)) return reject(new AppError('ERR_DNS_NETWORK', stderr.trim() || String(error?.message)))
        const answers = Array.isArray(body['answers']) ? body['answers'].map(String) : []
        resolve(answers.flatMap((record) => addressIn(record, type)))
      })
    })
}

/** The address of a record in presentation format (RFC 1035 section 5.1): `NAME TTL IN A ADDRESS`. */
function addressIn(record: string, type: string) {
  const words = record.split(/\s+/)
  return words.at(-2) === type ? [parseIp(words.at(-1) ?? '')] : []
}
