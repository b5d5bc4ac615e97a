import { spawnSync } from 'node:child_process'
import { dnsAddress } from '../../../networking/protocol.ts'
import { type GlobalOptions } from '../program.ts'
import { askArgv, dnsHost, type DnsHostOptions } from './dns-host.ts'

/** Options of `weft dns query`. */
export interface DnsQueryOptions extends DnsHostOptions {
  readonly tcp: boolean
}

/** `weft dns [query] NAME [TYPE]`: asks the name server of a simulated host, from inside that host. */
export async function dnsQuery(globals: GlobalOptions & DnsQueryOptions, name: string, type: string): Promise<void> {
  const words = [dnsAddress, name, type, globals.tcp ? 'tcp' : 'udp', globals.json ? 'json' : 'text']
  const done = spawnSync('nsenter', askArgv(dnsHost(globals), 'main', words), { stdio: 'inherit' })
  process.exitCode = done.status ?? 1
}
