import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { canMakeHosts } from '../support/hosts.ts'

/** Runs where a file system of 64 KiB is mounted, in a mount namespace of its own. */
const script = `
import { writeFileSync, rmSync } from 'node:fs'
const [leasesModule, cidrModule, logModule, directory] = process.argv.slice(1)
const { openLeases } = await import(leasesModule)
const { parseCidr } = await import(cidrModule)
const { silentLog } = await import(logModule)
const open = () => openLeases({ path: directory + '/leases.jsonl', bootId: 'b', log: silentLog })
const ask = (container) => leases.allocate({
  network: 'dcos', container, ifname: 'eth0', subnets: [parseCidr('10.80.0.0/22')], mac: '', hostLink: '' })
let leases = await open()
await ask('first')
try { for (let i = 0; i < 64; i++) writeFileSync(directory + '/filler', Buffer.alloc(4096), { flag: 'a' }) } catch {}
const codes = new Set()
let given = 1
for (let i = 0; i < 60; i++) await ask('c' + i).then(() => given++, (error) => codes.add(error.code))
const whenFull = leases.list().length
const released = await leases.release({ network: 'dcos', container: 'first', ifname: 'eth0' }).then(() => 'done', (e) => e.code)
rmSync(directory + '/filler')
const after = await ask('after')
await leases.close()
leases = await open()
// A release is a short line: it may still fit into the last page.
const expected = given + 1 - (released === 'done' ? 1 : 0)
console.log(JSON.stringify({ codes: [...codes], same: whenFull === given, after: after.addresses.length,
  kept: leases.list().length === expected }))
`

t.test('a full disk changes nothing, and room cures it', { skip: canMakeHosts }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'wft-full-'))
  t.teardown(() => rmdirSync(directory))
  const modules = ['networking/ipam/leases.ts', 'core/base/cidr.ts', 'core/base/log.ts']
  const urls = modules.map((path) => new URL(`../../${path}`, import.meta.url).href)
  const command = `mount -t tmpfs -o size=64k none "$1" && exec "$2" --input-type=module -e "$3" "$4" "$5" "$6" "$1"`
  const args = ['sh', '-c', command, 'sh', directory, process.execPath, script, ...urls]
  const output = execFileSync('unshare', ['--mount', '--propagation', 'private', ...args], { encoding: 'utf8' })
  t.same(JSON.parse(output), { codes: ['ERR_IPAM_DISK_FULL'], same: true, after: 1, kept: true })
})
