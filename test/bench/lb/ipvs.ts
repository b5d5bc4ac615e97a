// The load balancer's benchmark on IPVS, where the kernel has it (lb.bench.ts runs it in the guest): prints rows as JSON.
// WEFT_IPVSADM: folder of the unpacked package, or empty.
import { readFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { release } from 'node:os'
import { openIpvsPlane } from '../../../lb/ipvs/plane.ts'
import { openIpvsTable } from '../../../lb/ipvs/table.ts'
import { makeHost, type TestHost } from '../../support/hosts.ts'
import { hostSysctl } from '../../support/ipvs/kernel.ts'
import { nftNamespace } from '../../support/nft-namespace.ts'
import { measure, type Subject, writeIpvsadm } from './programming.ts'

const unpacked = process.env['WEFT_IPVSADM'] ?? ''
const hosts: TestHost[] = []
const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))

function fresh(label: string): TestHost {
  const host = makeHost(label)
  hosts.push(host)
  return host
}

function restore(host: TestHost): number {
  const input = readFileSync(writeIpvsadm(folder))
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: `${unpacked}/lib/x86_64-linux-gnu:${unpacked}/usr/lib/x86_64-linux-gnu`,
  }
  const start = performance.now()
  execFileSync('nsenter', [`--net=${host.path}`, `${unpacked}/sbin/ipvsadm`, '--restore'], { input, env })
  return performance.now() - start
}

const subject: Subject = {
  name: 'ipvs',
  peerName: 'ipvsadm --restore',
  goal: { ratio: 3, changeMs: 2 },
  open: async () => {
    const host = fresh('ours')
    const sysctl = hostSysctl(nftNamespace(host))
    return openIpvsPlane({ table: openIpvsTable({ netns: host.path }), sysctl, kernelRelease: release(), ranges: [] })
  },
  ...(unpacked === '' ? {} : { peer: () => restore(fresh('peer')) }),
}

try {
  await measure(subject, folder, (row) => console.log(JSON.stringify(row)))
} finally {
  for (const host of hosts) host.remove()
  rmSync(folder, { recursive: true, force: true })
}
