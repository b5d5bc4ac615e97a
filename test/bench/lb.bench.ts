import { execFileSync } from 'node:child_process'
import { mkdtempSync, renameSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { desiredLbTable, makeLbState, planLbOps } from '../../lb/nftables/plan.ts'
import { lbOwner } from '../../lb/nftables/skeleton.ts'
import { openNftablesPlane } from '../../lb/nftables/plane.ts'
import { openLibnftables } from '../../networking/nft/libnftables.ts'
import { formatNftTransaction, type NftOp } from '../../networking/nft/ops.ts'
import { planNftTable } from '../../networking/nft/plan.ts'
import { nftTable } from '../../networking/protocol.ts'
import { canMakeHosts, makeHost, type TestHost } from '../support/hosts.ts'
import { hasIpvs } from '../support/ipvs/kernel.ts'
import { nftNamespace } from '../support/nft-namespace.ts'
import { cacheFolder, inWorkFolder, unpackPackages } from '../vm/kernel.ts'
import { guestMissing, runInGuest } from '../vm/run.ts'
import { benchServer, measure, serverCount, type Subject } from './lb/programming.ts'
import { type Bench, type BenchRow } from './report.ts'

type Keep = (remove: () => void) => void
const ipvsProgram = fileURLToPath(new URL('lb/ipvs.ts', import.meta.url))

/** The same chains and maps, which both find there, and what the plane then sends, for `nft -f` alone: no planning. */
function writeNftFiles(folder: string): { readonly skeleton: string; readonly elements: string } {
  const state = makeLbState([])
  const skeleton = planNftTable({ owner: lbOwner, desired: desiredLbTable(state), actual: undefined })
  const servers = Array.from({ length: serverCount }, (_, i) => benchServer(i))
  const elements = planLbOps(
    state,
    servers.map((server) => ({ kind: 'server.ensure', server })),
  )
  const write = (name: string, ops: readonly NftOp[]) => {
    writeFileSync(join(folder, name), formatNftTransaction({ table: nftTable, ops }))
    return join(folder, name)
  }
  return { skeleton: write('skeleton', skeleton), elements: write('elements', elements) }
}

function nftSubject(keep: Keep): Subject {
  const fresh = (label: string): TestHost => {
    const host = makeHost(label)
    keep(host.remove)
    return host
  }
  return {
    name: 'nftables',
    peerName: 'nft -f of the same maps',
    goal: { ratio: 1 / 1.5, changeMs: 20 },
    open: async () => {
      const nft = await openLibnftables({ namespace: nftNamespace(fresh('ours')) })
      keep(nft.close)
      return openNftablesPlane({ nft, table: nftTable })
    },
    peer: (folder) => {
      const files = writeNftFiles(folder)
      const host = fresh('peer')
      host.run('nft', '-f', files.skeleton)
      const start = performance.now()
      host.run('nft', '-f', files.elements)
      return performance.now() - start
    },
  }
}

/** Debian's ipvsadm, unpacked and not installed: its folder, or why there is none. */
function prepareIpvsadm(): string | undefined {
  const folder = join(cacheFolder(), 'ipvsadm')
  if (existsSync(folder)) return folder
  try {
    inWorkFolder((work) => {
      const into = join(work, 'unpacked')
      unpackPackages(['ipvsadm', 'libnl-3-200', 'libnl-genl-3-200', 'libpopt0'], { into, work })
      renameSync(into, folder)
    })
    return folder
  } catch {
    return undefined // no apt-get, or no network: our figures are told without a peer
  }
}

/** Rows come out of the guest as lines of JSON. */
async function inGuest(report: (row: BenchRow) => void): Promise<void> {
  const missing = guestMissing()
  if (missing !== false) return void console.error(`IPVS is not measured: ${missing}`)
  let text = ''
  const status = await runInGuest([process.execPath, ipvsProgram], {
    timeoutMs: 120_000,
    env: { WEFT_IPVSADM: prepareIpvsadm() ?? '', WEFT_LONG: process.env['WEFT_LONG'] ?? '' },
    onOutput: (chunk, from) => {
      if (from === 'stdout') text += String(chunk)
      else process.stderr.write(chunk)
    },
  })
  for (const line of text.split('\n').filter((one) => one.startsWith('{'))) report(JSON.parse(line))
  if (status !== 0) throw new Error(`the guest's benchmark ended with ${status}`)
}

/** 10,000 VIPs on both data planes: from nothing, one change, 1,000 changes a second. IPVS in the guest where it must. */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  const removals: (() => void)[] = []
  const folder = mkdtempSync(join(tmpdir(), 'weft-bench-'))
  try {
    await measure(
      nftSubject((remove) => void removals.push(remove)),
      folder,
      report,
    )
  } finally {
    for (const remove of removals.toReversed()) remove()
    rmSync(folder, { recursive: true, force: true })
  }
  if (!hasIpvs()) return inGuest(report)
  const env = { ...process.env, WEFT_IPVSADM: prepareIpvsadm() ?? '' }
  const text = execFileSync(process.execPath, [ipvsProgram], { encoding: 'utf8', env })
  for (const line of text.split('\n').filter((one) => one.startsWith('{'))) report(JSON.parse(line))
}
