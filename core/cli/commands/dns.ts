import { spawnSync } from 'node:child_process'
import { AppError } from '../../base/errors.ts'
import { dnsAddress } from '../../../networking/protocol.ts'
import { type GlobalOptions } from '../program.ts'
import { type ClusterLayout, netnsPath } from '../up/layout.ts'
import { fileURLToPath } from 'node:url'
import { requireRoot } from './privilege.ts'
import { targetLayout } from './target.ts'

/** Options of `weft dns`. */
export interface DnsOptions {
  readonly host?: string
  readonly tcp: boolean
}

const asker = fileURLToPath(new URL('../dns-ask/main.ts', import.meta.url))

/** `weft dns NAME [TYPE]`: asks the name server of a simulated host, from inside that host. */
export async function dns(globals: GlobalOptions & DnsOptions, name: string, type: string): Promise<void> {
  requireRoot('dns')
  const host = pickHost(targetLayout(globals), globals.host)
  const words = [asker, dnsAddress, name, type, globals.tcp ? 'tcp' : 'udp', globals.json ? 'json' : 'text']
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', ...words]
  const done = spawnSync('nsenter', [`--net=${netnsPath(host.netns)}`, ...node], { stdio: 'inherit' })
  process.exitCode = done.status ?? 1
}

function pickHost(layout: ClusterLayout, name: string | undefined) {
  const host = layout.hosts.find((candidate) => candidate.name === (name ?? layout.hosts[0]?.name))
  if (host !== undefined) return host
  const names = layout.hosts.map((candidate) => candidate.name).join(', ')
  throw new AppError('ERR_CLI_NO_HOST', `no host "${name}"; there are ${names}`)
}
