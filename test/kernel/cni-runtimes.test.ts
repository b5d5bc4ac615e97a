import { rmdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type PortMapper, type Shaper } from '../../networking/node/cni-view.ts'
import { type CniNode, makeCniNode } from '../support/cni-node.ts'
import { makeRuntimeFolders, missingProgram, runBeside } from '../support/cni-runtime.ts'
import { canMakeHosts } from '../support/hosts.ts'

const common = { busybox: 'busybox-static', runc: 'runc' }
const hasPodman = canMakeHosts || missingProgram({ podman: 'podman', conmon: 'conmon', ...common })
const shim = '/usr/bin/containerd-shim-runc-v2'
const hasContainerd =
  canMakeHosts || missingProgram({ containerd: 'containerd', ctr: 'containerd', [shim]: 'containerd', ...common })

/** Says what it was asked for. */
const recorder = () => {
  const seen: string[] = []
  const portMapper: PortMapper = {
    add: async (_, addresses, mappings) =>
      void seen.push(
        `map ${mappings.map((m) => `${m.protocol} ${m.hostIp ?? '*'}:${m.hostPort}->${m.containerPort}`)} ${addresses[0]}`,
      ),
    remove: async () => void seen.push('unmap'),
  }
  const shaper: Shaper = { apply: async () => void seen.push('shape'), remove: async () => void seen.push('unshape') }
  return { seen, portMapper, shaper }
}

const removeIfThere = (path: string) => {
  try {
    rmdirSync(path)
  } catch {
    // ENOENT, or another podman's: not ours to remove
  }
}

/** The control group that podman's runtime leaves empty. */
const sweepControlGroups = () => {
  for (const name of readdirSync('/sys/fs/cgroup')) {
    for (const group of ['conmon', '']) removeIfThere(join('/sys/fs/cgroup', name, 'libpod_parent', group))
  }
}

function podmanOf(node: CniNode, folders: { readonly bin: string; readonly conf: string }) {
  const { directory, host } = node
  const lines = [
    '[containers]',
    'default_ulimits=["nofile=1024:1024","nproc=512:512"]',
    '[engine]',
    `runtime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="none"\ntmp_dir="${directory}/libpod"`,
    '[network]',
    `network_backend="cni"\ncni_plugin_dirs=["${folders.bin}"]\nnetwork_config_dir="${folders.conf}"`,
  ]
  const file = join(directory, 'containers.conf')
  writeFileSync(file, `${lines.join('\n')}\n`)
  const storage = [
    '--root',
    join(directory, 'root'),
    '--runroot',
    join(directory, 'runroot'),
    '--storage-driver',
    'vfs',
  ]
  return (...args: readonly string[]) =>
    runBeside('nsenter', [`--net=${host.path}`, 'podman', ...storage, ...args], { CONTAINERS_CONF: file })
}

t.test('podman runs containers on our network', { skip: hasPodman }, async (t) => {
  const node = makeCniNode('podman')
  t.teardown(() => node.remove())
  const { seen, ...parts } = recorder()
  await node.start(parts)
  const folders = makeRuntimeFolders(node)
  const podman = podmanOf(node, folders)
  t.teardown(sweepControlGroups)
  t.teardown(() => podman('rm', '-f', '-t', '0', '-a'))
  const show = 'ip addr show eth0; ip route; cat /etc/resolv.conf; ping -c1 -W2 192.0.2.1'
  const fixed = ['--ip', '10.80.1.50', '--mac-address', '02:11:22:33:44:55']
  const first = await podman('run', '--rm', '--network', 'dcos', ...fixed, '--rootfs', folders.rootfs, 'sh', '-c', show)
  t.equal(first.exitCode, 0, first.output)
  for (const fact of [
    /02:11:22:33:44:55/,
    /inet 10\.80\.1\.50\/32/,
    /inet6 fd00:77:0:1::/,
    /default via 169\.254\.1\.1/,
    /nameserver 198\.51\.100\.1/,
    /1 packets received/,
  ]) {
    t.match(first.output, fact)
  }
  t.same([node.leases().list(), node.hostLinks()], [[], []], '--rm takes all away')

  const options = ['--network', 'dcos:alias=db', '-p', '127.0.0.1:8080:80/udp', '--rootfs', folders.rootfs]
  const second = await podman('run', '-d', '--name', 'kept', ...options, 'sleep', '100')
  t.equal(second.exitCode, 0, second.output)
  const [lease] = node.leases().list()
  t.match(lease, { aliases: ['db', String], portMappings: [{ hostPort: 8080, hostIp: parseIp('127.0.0.1') }] })
  t.ok(seen.includes(`map udp 127.0.0.1:8080->80 ${lease?.addresses[0]}`), seen.join('\n'))
  const clash = await podman(
    'run',
    '--rm',
    '--network',
    'dcos',
    '--ip',
    `${lease?.addresses[0]}`,
    '--rootfs',
    folders.rootfs,
    'sh',
  )
  t.not(clash.exitCode, 0)
  t.match(clash.output, /is used by container/, 'podman shows what is wrong')
  t.equal(node.leases().list().length, 1)
  t.equal((await podman('rm', '-f', '-t', '0', 'kept')).exitCode, 0)
  t.same([node.leases().list(), node.hostLinks()], [[], []])
  t.equal(seen.at(-1), 'unmap')
})

/** In a mount namespace of its own: `ctr --cni` knows no other folders than these. */
const ctrScript = `
set -e
mount -t tmpfs none /run/containerd; mount -t tmpfs none /etc/cni; mount -t tmpfs none /opt
mkdir -p /etc/cni/net.d /opt/cni/bin
cp "$BIN"/* /opt/cni/bin/; cp "$CONF"/* /etc/cni/net.d/
printf 'version = 2\\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\\n' > "$DIR/containerd.toml"
containerd -c "$DIR/containerd.toml" --root "$DIR/c-root" --state "$DIR/c-state" -a "$DIR/c.sock" -l error > "$DIR/c.log" 2>&1 &
pid=$!
trap 'kill $pid; wait $pid || true; umount -R "$DIR/c-state" 2>/dev/null || true' EXIT
for i in $(seq 100); do ctr -a "$DIR/c.sock" version > /dev/null 2>&1 && break; sleep 0.1; done
ctr -a "$DIR/c.sock" run --rm --cni --rootfs "$ROOTFS" probe /bin/sh -c '/bin/ip addr show eth0; /bin/ping -c1 -W2 192.0.2.1'
`

t.test('ctr --cni runs a container on our network', { skip: hasContainerd }, async (t) => {
  const node = makeCniNode('ctr')
  t.teardown(() => node.remove())
  await node.start()
  const { bin, conf, rootfs } = makeRuntimeFolders(node)
  const env = { BIN: bin, CONF: conf, ROOTFS: rootfs, DIR: node.directory }
  const inside = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    `mkdir -p /run/containerd /etc/cni /opt; ${ctrScript}`,
  ]
  const { exitCode, output } = await runBeside('nsenter', [`--net=${node.host.path}`, ...inside], env)
  t.equal(exitCode, 0, output)
  t.match(output, /inet 10\.80\.1\.2\/32/)
  t.match(output, /1 packets received/)
  t.same([node.leases().list(), node.hostLinks()], [[], []], 'all is gone with the container')
})
