import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { AppError } from '../../base/errors.ts'
import { dcosNetHttpPort } from '../../../networking/protocol.ts'
import { type GlobalOptions } from '../program.ts'
import { type ClusterLayout, type HostLayout, netnsPath } from '../up/layout.ts'
import { requireRoot } from './privilege.ts'
import { targetLayout } from './target.ts'

/** Options of `weft dns` commands that ask a host. */
export interface DnsHostOptions {
  readonly host?: string
}

/** More than a million records. */
const maxBuffer = 1 << 28

/** The host that is asked: `--host`, else the first. @throws ERR_CLI_NO_HOST */
export function dnsHost(globals: GlobalOptions & DnsHostOptions): HostLayout {
  requireRoot('dns')
  return pickHost(targetLayout(globals), globals.host)
}

function pickHost(layout: ClusterLayout, name: string | undefined): HostLayout {
  const host = layout.hosts.find((candidate) => candidate.name === (name ?? layout.hosts[0]?.name))
  if (host !== undefined) return host
  const names = layout.hosts.map((candidate) => candidate.name).join(', ')
  throw new AppError('ERR_CLI_NO_HOST', `no host "${name}"; there are ${names}`)
}

/** What to run for a program of `dns-ask/` inside the host. */
export function askArgv(host: HostLayout, program: 'main' | 'http', words: readonly string[]): readonly string[] {
  const file = fileURLToPath(new URL(`../dns-ask/${program}.ts`, import.meta.url))
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', file, ...words]
  return [`--net=${netnsPath(host.netns)}`, ...node]
}

/** JSON of the host's HTTP interface for names. @throws ERR_CLI_NAMES when there is none, with what the daemon says */
export function fetchNames(host: HostLayout, path: string): unknown {
  const words = askArgv(host, 'http', [String(dcosNetHttpPort), path])
  const done = spawnSync('nsenter', words, { encoding: 'utf8', maxBuffer })
  if (done.status === 0) return JSON.parse(done.stdout)
  throw new AppError('ERR_CLI_NAMES', `${host.name}: ${done.stderr.trim() || 'no answer'}`)
}
