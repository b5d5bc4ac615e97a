import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestHost } from '../../support/hosts.ts'
import { type Contender, startPinned } from './peers.ts'

/** Servers that Debian starts as services when they are installed: they are unpacked instead, and nothing else changes. */
const packages = ['bind9', 'bind9-libs', 'pdns-server', 'pdns-backend-bind', 'libluajit-5.1-2']

/** A peer, or why there is none. */
export type Peer = Contender | { readonly name: string; readonly reason: string }

/** bind and PowerDNS with the zone file that knot has too. */
export function startUnpacked(host: TestHost, folder: string): readonly Peer[] {
  const at = join(folder, 'unpacked')
  mkdirSync(at)
  const got = spawnSync('apt-get', ['download', ...packages], { cwd: at, timeout: 60_000 })
  const without = (reason: string) => ['bind', 'PowerDNS'].map((name) => ({ name, reason }))
  if (got.status !== 0) return without('apt-get download got no packages')
  for (const file of readdirSync(at)) spawnSync('dpkg', ['-x', file, 'root'], { cwd: at })
  const libraries = spawnSync('sh', ['-c', 'echo root/usr/lib/*-linux-gnu'], { cwd: at, encoding: 'utf8' })
  const path = join(at, libraries.stdout.trim())
  const start = (name: string, port: number, command: readonly string[]): Peer => {
    const [program = '', ...args] = command
    const { pid = 0 } = startPinned(host, 'env', `LD_LIBRARY_PATH=${path}`, join(at, program), ...args)
    return { name, port, pid }
  }
  const zone = `zone "mesos" { type master; file "${folder}/mesos.zone"; };\n`
  const options = `options { directory "${folder}"; listen-on port 5308 { 127.0.0.1; }; listen-on-v6 { none; };
    recursion no; pid-file none; dnssec-validation no; };\ncontrols {};\n`
  writeFileSync(join(at, 'named.conf'), options + zone)
  writeFileSync(join(at, 'zones.conf'), zone)
  const lines = ['launch=bind', `bind-config=${at}/zones.conf`, 'local-address=127.0.0.1', 'local-port=5309']
  lines.push(`module-dir=${path}/pdns`, `socket-dir=${at}`, 'receiver-threads=1', 'distributor-threads=1')
  lines.push('daemon=no', 'guardian=no', 'cache-ttl=60', 'negquery-cache-ttl=60', 'setuid=', 'setgid=')
  writeFileSync(join(at, 'pdns.conf'), `${lines.join('\n')}\n`)
  return [
    start('bind', 5308, ['root/usr/sbin/named', '-f', '-n', '1', '-c', join(at, 'named.conf')]),
    start('PowerDNS', 5309, ['root/usr/sbin/pdns_server', `--config-dir=${at}`]),
  ]
}
