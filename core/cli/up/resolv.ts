import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dnsAddress } from '../../../networking/protocol.ts'
import { type HostLayout } from './layout.ts'

/** Search list of a machine of the cluster: short names of services, then of VIPs. */
const search = ['marathon.mesos', 'marathon.l4lb.thisdcos.directory'] as const

/** Where a simulated host's own resolv.conf is. */
export function hostResolvConf(host: HostLayout): string {
  return join(host.directory, 'resolv.conf')
}

/** A resolv.conf(5) that asks the node's own name server, quick to give up, since it is on the same machine. */
export function formatResolvConf(): string {
  return `nameserver ${dnsAddress}\nsearch ${search.join(' ')}\noptions timeout:1 attempts:3\n`
}

/** Writes a simulated host's. */
export function writeHostResolvConf(host: HostLayout): void {
  writeFileSync(hostResolvConf(host), formatResolvConf())
}
