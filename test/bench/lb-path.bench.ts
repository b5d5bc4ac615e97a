import { execFile, execFileSync } from 'node:child_process'
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { canMakeHosts } from '../support/hosts.ts'
import { hasIpvs } from '../support/ipvs/kernel.ts'
import { cacheFolder, inWorkFolder, unpackPackages } from '../vm/kernel.ts'
import { guestMissing, runInGuest } from '../vm/run.ts'
import { type Bench, type BenchRow } from './report.ts'

const here = (name: string) => fileURLToPath(new URL(`lb/${name}`, import.meta.url))

/** Debian packages, unpacked and not installed: their folder, or nothing where they can't be had. */
function unpacked(name: string, ...packages: readonly string[]): string {
  const folder = join(cacheFolder(), name)
  if (existsSync(folder)) return folder
  try {
    inWorkFolder((work) => {
      unpackPackages(packages, { into: join(work, 'unpacked'), work })
      renameSync(join(work, 'unpacked'), folder)
    })
    return folder
  } catch {
    return '' // no apt-get, or no network: told without this peer
  }
}

/** A program of ours in the cache, which the guest sees too: it has a /tmp of its own. */
function compiled(name: string): string {
  const program = join(cacheFolder(), name)
  inWorkFolder((work) => {
    execFileSync('gcc', ['-O2', '-static', '-o', join(work, name), here(`${name}.c`)])
    renameSync(join(work, name), program)
  })
  return program
}

function rowsOf(text: string): readonly BenchRow[] {
  return text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
}

async function inGuest(env: Readonly<Record<string, string>>): Promise<string> {
  const missing = guestMissing()
  if (missing !== false) {
    console.error(`IPVS is not measured: ${missing}`)
    return ''
  }
  let text = ''
  const status = await runInGuest([process.execPath, here('path.ts'), 'ipvs'], {
    timeoutMs: 300_000,
    env,
    onOutput: (chunk, from) => {
      if (from === 'stdout') text += String(chunk)
      else process.stderr.write(chunk)
    },
  })
  if (status !== 0) throw new Error(`the guest's benchmark ended with ${status}`)
  return text
}

/** Connections per second and latency through a VIP, beside the same objects made by hand and beside haproxy. Needs gcc. */
export const run: Bench = async (report) => {
  if (canMakeHosts !== false) throw new Error(canMakeHosts)
  const loader = compiled('path-load')
  const env = {
    WEFT_PATH_LOAD: loader,
    WEFT_LONG: process.env['WEFT_LONG'] ?? '',
    WEFT_HAPROXY: unpacked('haproxy', 'haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1'),
    WEFT_IPVSADM: unpacked('ipvsadm', 'ipvsadm', 'libnl-3-200', 'libnl-genl-3-200', 'libpopt0'),
  }
  const natively = async (mode: string) =>
    (await promisify(execFile)(process.execPath, [here('path.ts'), mode], { env: { ...process.env, ...env } })).stdout
  for (const row of rowsOf(await natively('nftables'))) report(row)
  for (const row of rowsOf(hasIpvs() ? await natively('ipvs') : await inGuest(env))) report(row)
}
