import t from 'tap'
import { parseIp } from '../../core/base/ip.ts'
import { type PortMapper, type Shaper } from '../../networking/node/cni-view.ts'
import { makeCniNode } from '../support/cni-node.ts'
import { makeRuntimeFolders, missingProgram, runBeside } from '../support/cni-runtime.ts'
import { canMakeHosts } from '../support/hosts.ts'
import { eventually } from '../support/local-cluster.ts'
import { podmanOf, sweepControlGroups } from '../support/podman.ts'
import { makePortmapWorld, segmentAddresses } from '../support/portmap-world.ts'

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

t.test('podman -p: another host reaches the container by a port of this one', { skip: hasPodman }, async (t) => {
  const world = await makePortmapWorld(t)
  await world.start()
  const folders = makeRuntimeFolders(world.node)
  const podman = podmanOf(world.node, folders)
  t.teardown(sweepControlGroups)
  t.teardown(() => podman('rm', '-f', '-t', '0', '-a'))
  const serve = 'while true; do echo served | nc -l -p 80; done'
  const options = ['--network', 'dcos', '-p', '8080:80', '--rootfs', folders.rootfs, 'sh', '-c', serve]
  const started = await podman('run', '-d', '--name', 'web', ...options)
  t.equal(started.exitCode, 0, started.output)
  const ask = ['busybox', 'nc', '-w', '2', segmentAddresses.node[4], '8080']
  await eventually('the container answers', async () =>
    world.client.run('sh', '-c', `${ask.join(' ')} < /dev/null || true`).includes('served') ? true : undefined,
  )
  t.pass('answered on the host port')
  t.equal((await podman('rm', '-f', '-t', '0', 'web')).exitCode, 0)
  t.throws(() => world.client.run(...(ask as [string, ...string[]])), 'and no more once it is removed')
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
