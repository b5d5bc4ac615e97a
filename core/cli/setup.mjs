#!/usr/bin/env node
// Installs what Weft needs and this machine lacks, says so first, and is silent when nothing is missing. It runs before
// `npm start` and `npm test`, on whatever Node the machine has (20 or newer) and before any package is there: so it is
// plain JavaScript, imports nothing but Node's own modules, and must not grow.
//
//   node core/cli/setup.mjs            what `weft up` needs
//   node core/cli/setup.mjs --test     also what the tests and benchmarks compare with
//   node core/cli/setup.mjs --check    npm packages only, for format, lint and types
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const args = new Set(process.argv.slice(2))

/** Debian packages by the program that shows their presence. */
const packages = {
  run: {
    ip: 'iproute2',
    nft: 'nftables',
    nsenter: 'util-linux',
    curl: 'curl',
    dig: 'bind9-dnsutils',
    ping: 'iputils-ping',
    perl: 'perl-base',
  },
  test: {
    tc: 'iproute2',
    'redis-server': 'redis-server',
    '../share/zookeeper/bin/zkServer.sh': 'zookeeper',
    dockerd: 'docker.io',
    skopeo: 'skopeo',
    umoci: 'umoci',
    iperf3: 'iperf3',
    podman: 'podman',
    containerd: 'containerd',
    busybox: 'busybox-static',
    iptables: 'iptables',
    runc: 'runc',
    '../lib/cni/bridge': 'containernetworking-plugins',
  },
}

/** Folders where Debian keeps administrators' programs, which an ordinary user's PATH leaves out. */
const path = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']

function has(program) {
  return path.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false // ENOENT or EACCES: not in this folder
    }
  })
}

function say(text) {
  process.stderr.write(`weft: ${text}\n`)
}

function fail(text) {
  say(text)
  process.exit(1)
}

/** npm packages, exactly those of the lock file; a stamp remembers which lock file was installed. */
function installPackages() {
  const stamp = join(root, 'node_modules', '.weft-installed')
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('installing the npm packages of package-lock.json (once; about a minute)')
  const npm = spawnSync('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    // npm hands its own settings down by environment: those of the caller's command must not steer this one.
    env: Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('npm_config_'))),
  })
  if (npm.status !== 0) fail('npm ci failed: see above; it needs the npm registry. Try again: npm ci')
  writeFileSync(stamp, lock)
}

/** Debian packages, by apt-get where this user may, else by telling the command. */
function installPrograms() {
  const wanted = { ...packages.run, ...(args.has('--test') ? packages.test : {}) }
  const missing = Object.entries(wanted).filter(([program]) => !has(program))
  const names = new Set(missing.map(([, name]) => name))
  if (!has('crun') && !has('runc')) names.add('runc')
  if (names.size === 0) return
  const list = [...names].join(' ')
  if (process.getuid?.() !== 0) {
    if (args.has('--test')) return say(`missing Debian packages (tests that need them are skipped): ${list}`)
    return fail(`this machine lacks ${list}; run as root: apt-get install -y --no-install-recommends ${list}`)
  }
  if (!has('apt-get')) fail(`this machine lacks ${list} and has no apt-get: install them by its own package manager`)
  say(`installing Debian packages: ${list}`)
  withoutServices(() => aptGet(['install', '-y', '--no-install-recommends', ...names]))
}

/**
 * Debian starts the services of what it installs: a Docker or a Redis that nobody asked for, on the machine's own network.
 * invoke-rc.d obeys this file (101: action forbidden by policy).
 */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return install()
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const remove = () => rmSync(policy, { force: true })
  process.once('exit', remove) // `fail` ends the process
  install()
  remove()
}

/** Runs apt-get; fetches the lists of packages first when it fails without. */
function aptGet(words) {
  const options = { encoding: 'utf8', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  const get = (...more) => spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...more], options)
  let done = get(...words)
  if (done.status !== 0) {
    get('update')
    done = get(...words)
  }
  if (done.status !== 0) fail(`apt-get ${words.join(' ')} failed:\n${done.stdout}${done.stderr}`)
}

/**
 * tap compiles its list of plugins (.taprc) into node_modules; without that every test file would go through TypeScript's
 * compiler. The stamp lives and dies with node_modules.
 */
function buildTap() {
  const stamp = join(root, 'node_modules', '.weft-tap')
  if (existsSync(stamp) && existsSync(join(root, '.tap', 'plugins'))) return
  const bin = join(root, 'node_modules', '.bin')
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` }
  execFileSync(join(bin, 'tap'), ['build'], { cwd: root, env, stdio: ['ignore', 'ignore', 2] })
  writeFileSync(stamp, '')
}

/** The CNI client is compiled where there is a compiler; without one a slower client takes its place. */
function buildCniClient() {
  execFileSync(process.execPath, [join(root, 'cni-plugins', 'weft', 'build.mjs')], { stdio: ['ignore', 'ignore', 2] })
}

const [major] = process.versions.node.split('.').map(Number)
if (major < 20) fail(`Node ${process.versions.node} is too old to set Weft up: 20 or newer is needed`)
installPackages()
if (args.has('--test') || args.has('--check')) buildTap()
if (!args.has('--check')) {
  installPrograms()
  buildCniClient()
}
